/** The kernels of the target; only preprocessor lines, so that assembly can include this file. */
#ifndef NK_TARGET_H_
#define NK_TARGET_H_

/**
 * NK_USE_DSP: whether the kernels for cores with the DSP extension are built, which are tuned for
 * the Cortex-M7. These kernels need a compiler that takes GNU assembly; define NK_USE_DSP as 0 to
 * build without these kernels.
 */
#ifndef NK_USE_DSP
#if defined(__GNUC__) && defined(__thumb2__) && defined(__ARM_FEATURE_DSP) && \
    defined(__ARM_ARCH_PROFILE) && !defined(__ARM_BIG_ENDIAN)
#if __ARM_ARCH_PROFILE == 'M'
#define NK_USE_DSP 1
#endif
#endif
#endif

#ifndef NK_USE_DSP
#define NK_USE_DSP 0
#endif

/**
 * NK_USE_MVE: whether sparse convolutions use Helium, the vectors of the Cortex-M55 and M85. Define
 * NK_USE_MVE as 0 to have the kernels for the DSP extension in place of that.
 */
#ifndef NK_USE_MVE
#if NK_USE_DSP && defined(__ARM_FEATURE_MVE)
#define NK_USE_MVE 1
#else
#define NK_USE_MVE 0
#endif
#endif

/**
 * NK_USE_UNALIGNED: whether words may be loaded from and stored to any address. 0 on the cores that
 * cannot, and with the flag -mno-unaligned-access.
 */
#ifndef NK_USE_UNALIGNED
#if defined(__arm__) && !defined(__ARM_FEATURE_UNALIGNED)
#define NK_USE_UNALIGNED 0
#else
#define NK_USE_UNALIGNED 1
#endif
#endif

/**
 * NK_USE_THUMB1: whether the target has the first Thumb instructions alone, as the Cortex-M0, M0+,
 * M1 and M23. These cores have no product of 64 bits, and eight registers for most instructions.
 */
#ifndef NK_USE_THUMB1
#if defined(__ARM_ARCH_ISA_THUMB)
#if __ARM_ARCH_ISA_THUMB == 1
#define NK_USE_THUMB1 1
#endif
#endif
#endif

#ifndef NK_USE_THUMB1
#define NK_USE_THUMB1 0
#endif

#endif  // NK_TARGET_H_
