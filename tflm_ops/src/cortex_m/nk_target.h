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

#endif  // NK_TARGET_H_
