/** The part of board.h that the C tests use, on this computer. */
#include <stdio.h>

#include "board.h"

void board_puts(const char *text) { fputs(text, stdout); }
