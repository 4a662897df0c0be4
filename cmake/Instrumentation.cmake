# UVECHOD_SANITIZE and UVECHOD_COVERAGE.

if(UVECHOD_SANITIZE)
    # A finding must end the process, so that the test fails.
    target_compile_options(uvechod_flags INTERFACE "-fsanitize=${UVECHOD_SANITIZE}"
        -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(uvechod_flags INTERFACE "-fsanitize=${UVECHOD_SANITIZE}")
endif()

if(UVECHOD_COVERAGE)
    # Atomic counters, because two threads that count at once would make gcov's counts wrong.
    target_compile_options(uvechod_flags INTERFACE --coverage -fprofile-update=atomic)
    target_link_options(uvechod_flags INTERFACE --coverage)
endif()
