# Hardening of release builds, because the daemon reads what strangers send. Not with sanitizers,
# which check more and conflict with it, and not with coverage, whose builds only run tests.

if(UVECHOD_SANITIZE OR UVECHOD_COVERAGE)
    return()
endif()

include(CheckCCompilerFlag)
include(CheckCSourceCompiles)
include(CheckLinkerFlag)

# The build types that optimise. Not Debug, because _FORTIFY_SOURCE needs optimisation.
set(hardened "$<CONFIG:Release,RelWithDebInfo,MinSizeRel>")

# -Werror, because clang only warns when the target does not support a flag.
set(CMAKE_REQUIRED_FLAGS -Werror)

function(uvechod_harden_compile name flag)
    check_c_compiler_flag("${flag}" HAVE_${name})
    if(HAVE_${name})
        target_compile_options(uvechod_flags INTERFACE "$<${hardened}:${flag}>")
    endif()
endfunction()

function(uvechod_harden_link name flag)
    check_linker_flag(C "${flag}" HAVE_${name})
    if(HAVE_${name})
        target_link_options(uvechod_flags INTERFACE "$<${hardened}:${flag}>")
    endif()
endfunction()

# Not CMake's property for PIE, which would compile the libraries with -fPIC: then the compiler may
# inline static functions only.
uvechod_harden_compile(PIE -fPIE)
uvechod_harden_link(LINK_PIE -pie)
uvechod_harden_link(RELRO LINKER:-z,relro)
uvechod_harden_link(BIND_NOW LINKER:-z,now)
uvechod_harden_link(NOEXECSTACK LINKER:-z,noexecstack)
uvechod_harden_compile(STACK_PROTECTOR -fstack-protector-strong)
uvechod_harden_compile(STACK_CLASH -fstack-clash-protection)
uvechod_harden_compile(CF_PROTECTION -fcf-protection) # on x86
uvechod_harden_compile(BRANCH_PROTECTION -mbranch-protection=standard) # on arm64

# Level 3 if the C library knows it; an older C library warns and uses level 2. -U first, because
# the compilers of some distributions define _FORTIFY_SOURCE themselves.
set(CMAKE_REQUIRED_FLAGS "-Werror -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3")
check_c_source_compiles("#include <stdlib.h>\nint main(void) { return 0; }" HAVE_FORTIFY_3)
unset(CMAKE_REQUIRED_FLAGS)
target_compile_options(uvechod_flags INTERFACE
    "$<${hardened}:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=$<IF:$<BOOL:${HAVE_FORTIFY_3}>,3,2>>")
