"""rules_java for a Bazel that has the rules built in: it looks at its Java toolchains for any rule."""

java_binary = native.java_binary
java_import = native.java_import
java_library = native.java_library
java_runtime = native.java_runtime
java_toolchain = native.java_toolchain
