# Release builds of the daemon are optimised across files, because a message passes through small
# functions of five files: without that, a fifth of its instructions are calls. The objects are fat:
# they also contain ordinary code, which the tests link (tests/CMakeLists.txt), because they wrap
# calls between files. Only gcc makes fat objects.

if(UVECHOD_SANITIZE OR UVECHOD_COVERAGE OR NOT CMAKE_C_COMPILER_ID STREQUAL "GNU")
    return()
endif()

include(CheckCSourceCompiles)
set(CMAKE_REQUIRED_FLAGS "-flto=auto -ffat-lto-objects")
check_c_source_compiles("int main(void) { return 0; }" HAVE_FAT_LTO)
unset(CMAKE_REQUIRED_FLAGS)
if(HAVE_FAT_LTO)
    foreach(target uvechod_base uvechod_os uvechod_task uvechod_stream uvechod_service
        uvechod_server uvechod_program uvechod)
        target_compile_options(${target} PRIVATE
            "$<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-flto=auto;-ffat-lto-objects>")
    endforeach()
    target_link_options(uvechod PRIVATE
        "$<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-flto=auto>")
endif()
