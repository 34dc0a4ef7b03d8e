#include "nk_stream_check.h"

nk_status nk_stream_validate_in_place(const nk_stream *stream) {
  if (stream == NULL || stream->in_place_levels < stream->levels) {
    return NK_ERROR_ARGUMENT;
  }
  return nk_stream_check(stream, NULL);
}
