# The daemon is optimised across its files in release builds: a message passes through small
# functions of five of them, and a fifth of its instructions are calls. Objects are fat, that is,
# ordinary ones as well, and those are what the tests link (tests/CMakeLists.txt), because they wrap
# functions between files. Only gcc makes such objects.

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
