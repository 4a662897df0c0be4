# UVECHOD_SANITIZE, UVECHOD_FUZZ and UVECHOD_COVERAGE.
#
# Sets sanitizers_inside: the flags with which gcc links the sanitizers for addresses and undefined
# behaviour into a program, if they are installed as archives. Not for a test that wraps calls: those
# of the sanitizers would be wrapped, too.

if(UVECHOD_SANITIZE)
    # A finding must end the process, so that the test fails.
    target_compile_options(uvechod_flags INTERFACE "-fsanitize=${UVECHOD_SANITIZE}"
        -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(uvechod_flags INTERFACE "-fsanitize=${UVECHOD_SANITIZE}")
    if(UVECHOD_SANITIZE STREQUAL "address,undefined")
        # -Werror, because clang only warns: it links them in by itself.
        include(CheckCSourceCompiles)
        set(CMAKE_REQUIRED_FLAGS
            "-Werror -fsanitize=${UVECHOD_SANITIZE} -static-libasan -static-libubsan")
        check_c_source_compiles("int main(void) { return 0; }" HAVE_SANITIZERS_INSIDE)
        unset(CMAKE_REQUIRED_FLAGS)
    endif()
endif()
set(sanitizers_inside "$<$<BOOL:${HAVE_SANITIZERS_INSIDE}>:-static-libasan;-static-libubsan>")

if(UVECHOD_FUZZ)
    # Counts what each input reaches. Only the fuzz targets are linked to the fuzzer itself.
    target_compile_options(uvechod_flags INTERFACE -fsanitize=fuzzer-no-link)
    target_link_options(uvechod_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# coverage_flags: how the daemon is compiled, and nothing else. The counters are atomic, because two
# threads that count at once would make gcov's counts wrong; in clients that compare each byte they
# would take minutes.
if(UVECHOD_COVERAGE)
    set(coverage_flags --coverage -fprofile-update=atomic)
    target_link_options(uvechod_flags INTERFACE --coverage)
endif()
