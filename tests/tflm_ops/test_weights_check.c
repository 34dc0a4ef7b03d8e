/**
 * Spoils one field of a good file of weights after the other: each file must be refused with its
 * own status. The good file itself must be taken.
 */
#include <stdio.h>
#include <string.h>

#include "nk_weights.h"

enum {
  VERSION = 4,
  SIZE = 8,
  ARRAYS = 12,
  DIGEST = 16,
  CRC = 48,
  TABLE = 64,
  FILE_BYTES = 128, /* Header, two entries, arrays of 20 and 16 bytes at 80 and 112. */
  ROOM = FILE_BYTES + 8
};

static uint32_t words[ROOM / 4];
static uint8_t digest[NK_WEIGHTS_DIGEST_BYTES];
static int failures;

static uint8_t *file(void) { return (uint8_t *)words; }

static void store(uint32_t offset, uint32_t value) {
  for (uint32_t i = 0; i < 4; ++i) {
    file()[offset + i] = (uint8_t)(value >> (8 * i));
  }
}

/** CRC-32 of all bytes but those of the CRC itself, bit by bit. */
static uint32_t crc_of_file(void) {
  uint32_t crc = UINT32_MAX;
  for (uint32_t i = 0; i < FILE_BYTES; ++i) {
    if (i < CRC || i >= CRC + 4) {
      crc ^= file()[i];
      for (int bit = 0; bit < 8; ++bit) {
        crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
      }
    }
  }
  return ~crc;
}

static void make_file(void) {
  memset(words, 0, sizeof words);
  memcpy(words, NK_WEIGHTS_MAGIC, 4);
  store(VERSION, NK_WEIGHTS_VERSION);
  store(SIZE, FILE_BYTES);
  store(ARRAYS, 2);
  for (uint32_t i = 0; i < NK_WEIGHTS_DIGEST_BYTES; ++i) {
    digest[i] = (uint8_t)(7 * i + 1);
    file()[DIGEST + i] = digest[i];
  }
  store(TABLE, 80);
  store(TABLE + 4, 20);
  store(TABLE + 8, 112);
  store(TABLE + 12, 16);
  file()[80] = 42;
  store(CRC, crc_of_file());
}

static void expect(const char *what, nk_status status, nk_status wanted) {
  if (status != wanted) {
    fprintf(stderr, "%s: expected %s: got %s\n", what, nk_status_name(wanted),
            nk_status_name(status));
    ++failures;
  }
}

/** The size of the first array, and any size of the second. */
static const uint32_t kSizes[2] = {20, 0};

static nk_status check(size_t size) { return nk_weights_check(words, size, digest, kSizes, 2); }

/** Checks a file with another field and a right CRC. */
static void spoil(const char *what, uint32_t offset, uint32_t value, nk_status wanted) {
  make_file();
  store(offset, value);
  store(CRC, crc_of_file());
  expect(what, check(FILE_BYTES), wanted);
}

static void test_arguments(void) {
  make_file();
  expect("a good file", check(FILE_BYTES), NK_OK);
  expect("a good file with more behind it", check(ROOM), NK_OK);
  if (nk_weights_array_size(file(), 1) != 16 ||
      *(const uint8_t *)nk_weights_array(file(), 0) != 42) {
    fprintf(stderr, "the arrays lie elsewhere\n");
    ++failures;
  }
  expect("no file", nk_weights_check(NULL, ROOM, digest, kSizes, 2), NK_ERROR_ARGUMENT);
  expect("no digest", nk_weights_check(words, ROOM, NULL, kSizes, 2), NK_ERROR_ARGUMENT);
  expect("no sizes", nk_weights_check(words, ROOM, digest, NULL, 2), NK_ERROR_ARGUMENT);
  expect("a misaligned file", nk_weights_check(file() + 2, ROOM - 2, digest, kSizes, 2),
         NK_ERROR_ARGUMENT);
  expect("fewer than no arrays", nk_weights_check(words, ROOM, digest, kSizes, -1),
         NK_ERROR_MALFORMED);
  expect("another number of arrays", nk_weights_check(words, ROOM, digest, kSizes, 1),
         NK_ERROR_MALFORMED);
}

static void test_header(void) {
  make_file();
  expect("three bytes", check(3), NK_ERROR_TRUNCATED);
  expect("half a header", check(TABLE - 1), NK_ERROR_TRUNCATED);
  expect("all but the last byte", check(FILE_BYTES - 1), NK_ERROR_TRUNCATED);
  file()[DIGEST] ^= 1;
  expect("a wrong CRC", check(FILE_BYTES), NK_ERROR_CHECKSUM);
  make_file();
  file()[FILE_BYTES - 1] ^= 1;
  expect("a wrong last byte", check(FILE_BYTES), NK_ERROR_CHECKSUM);
  spoil("another magic", 0, 0x32574B4Eu, NK_ERROR_FOREIGN);
  spoil("another version", VERSION, NK_WEIGHTS_VERSION + 1, NK_ERROR_VERSION);
  spoil("a file shorter than its header", SIZE, TABLE - 1, NK_ERROR_MALFORMED);
  spoil("the weights of another model", DIGEST + 28, 0, NK_ERROR_FOREIGN);
}

static void test_table(void) {
  spoil("no room for the table", ARRAYS, 9, NK_ERROR_MALFORMED);
  expect("no room for the table of as many", nk_weights_check(words, ROOM, digest, kSizes, 9),
         NK_ERROR_MALFORMED);
  spoil("an array that is not aligned", TABLE, 81, NK_ERROR_MALFORMED);
  spoil("an array behind the file", TABLE + 8, FILE_BYTES + 16, NK_ERROR_MALFORMED);
  spoil("an array that ends behind the file", TABLE + 12, 17, NK_ERROR_MALFORMED);
  spoil("an array with more bytes", TABLE + 4, 21, NK_ERROR_MALFORMED);
  spoil("an array of any size", TABLE + 12, 15, NK_OK);
  spoil("an empty array at the end", TABLE + 8, FILE_BYTES, NK_ERROR_MALFORMED);
}

int main(void) {
  test_arguments();
  test_header();
  test_table();
  printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
