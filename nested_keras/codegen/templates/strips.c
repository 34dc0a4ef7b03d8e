/* The rows of one call of an operator that runs strip by strip; output_h is 0 for no call. */
typedef struct strip {
  uint16_t input_row[2];
  uint16_t input_h;
  uint16_t pad_top;
  uint16_t output_row;
  uint16_t output_h;
  uint16_t kept_row;
  uint16_t kept_rows;
} strip;
