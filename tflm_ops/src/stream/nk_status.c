#include "../../include/nk_status.h"

const char *nk_status_name(nk_status status) {
  switch (status) {
    case NK_OK:
      return "NK_OK";
    case NK_ERROR_ARGUMENT:
      return "NK_ERROR_ARGUMENT";
    case NK_ERROR_FOREIGN:
      return "NK_ERROR_FOREIGN";
    case NK_ERROR_VERSION:
      return "NK_ERROR_VERSION";
    case NK_ERROR_TRUNCATED:
      return "NK_ERROR_TRUNCATED";
    case NK_ERROR_CHECKSUM:
      return "NK_ERROR_CHECKSUM";
    case NK_ERROR_MALFORMED:
      return "NK_ERROR_MALFORMED";
    case NK_ERROR_LEVEL:
      return "NK_ERROR_LEVEL";
    case NK_ERROR_SHAPE:
      return "NK_ERROR_SHAPE";
    case NK_ERROR_BUFFER:
      return "NK_ERROR_BUFFER";
  }
  return "unknown status";
}
