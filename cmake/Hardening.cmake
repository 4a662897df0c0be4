# Hardening of release builds: the daemon reads what strangers send. Sanitizers do the same work
# better and do not go together with it; coverage is for reading, not for running.

if(UVECHOD_SANITIZE OR UVECHOD_COVERAGE)
    return()
endif()

include(CheckCCompilerFlag)
include(CheckCSourceCompiles)
include(CheckLinkerFlag)

# The build types that optimise; Debug does not, and fortify needs it.
set(hardened "$<CONFIG:Release,RelWithDebInfo,MinSizeRel>")

# An error, because clang only warns of a flag that the target has no use for.
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

# PIE by hand: CMake's property would compile the library with -fPIC, which forbids the compiler
# to inline what is not static.
uvechod_harden_compile(PIE -fPIE)
uvechod_harden_link(LINK_PIE -pie)
uvechod_harden_link(RELRO LINKER:-z,relro)
uvechod_harden_link(BIND_NOW LINKER:-z,now)
uvechod_harden_link(NOEXECSTACK LINKER:-z,noexecstack)
uvechod_harden_compile(STACK_PROTECTOR -fstack-protector-strong)
uvechod_harden_compile(STACK_CLASH -fstack-clash-protection)
uvechod_harden_compile(CF_PROTECTION -fcf-protection) # on x86
uvechod_harden_compile(BRANCH_PROTECTION -mbranch-protection=standard) # on arm64

# Level 3 where the C library has it: an older one warns and falls back to 2. Undefined first,
# because some distributions' compilers define it themselves.
set(CMAKE_REQUIRED_FLAGS "-Werror -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3")
check_c_source_compiles("#include <stdlib.h>\nint main(void) { return 0; }" HAVE_FORTIFY_3)
unset(CMAKE_REQUIRED_FLAGS)
target_compile_options(uvechod_flags INTERFACE
    "$<${hardened}:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=$<IF:$<BOOL:${HAVE_FORTIFY_3}>,3,2>>")
