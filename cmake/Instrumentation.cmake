# UVECHOD_SANITIZE and UVECHOD_COVERAGE.

if(UVECHOD_SANITIZE)
    # A finding ends the process, so that no test passes over it.
    target_compile_options(uvechod_flags INTERFACE "-fsanitize=${UVECHOD_SANITIZE}"
        -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(uvechod_flags INTERFACE "-fsanitize=${UVECHOD_SANITIZE}")
endif()

if(UVECHOD_COVERAGE)
    # Atomic counts, because a count torn by a second thread makes gcov's figures useless.
    target_compile_options(uvechod_flags INTERFACE --coverage -fprofile-update=atomic)
    target_link_options(uvechod_flags INTERFACE --coverage)
endif()
