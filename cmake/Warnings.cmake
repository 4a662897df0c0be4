# Strict warnings, for gcc 12 and clang 14 or newer.

target_compile_options(uvechod_flags INTERFACE
    -Wall
    -Wextra
    -Wpedantic
    -Wcast-align
    -Wcast-qual
    -Wconversion
    -Wformat=2
    -Wimplicit-fallthrough
    -Wmissing-prototypes
    -Wnull-dereference
    -Wold-style-definition
    -Wshadow
    -Wsign-conversion
    -Wstrict-prototypes
    -Wundef
    -Wvla
    -Wwrite-strings
    $<$<C_COMPILER_ID:GNU>:-Wduplicated-branches;-Wduplicated-cond;-Wjump-misses-init;-Wlogical-op>
    $<$<BOOL:${UVECHOD_WERROR}>:-Werror>
)
