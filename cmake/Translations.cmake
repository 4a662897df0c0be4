# Builds the catalogues in src/share/po. That needs gettext: libintl, which is often part of the C
# library, and msgfmt. If either is missing, the daemon's messages are English.
#
# Adds to uvechod_flags:
#   UVECHOD_GETTEXT     1 if messages are translated, 0 if not
#   UVECHOD_LOCALEDIR   where the installed catalogues are
#   UVECHOD_LOCALEDIR_FROM_PROGRAM
#                       the same as a path relative to the directory of the daemon's file: still right after
#                       cmake --install --prefix, or when the whole tree was moved
# The catalogues of the build tree are in locale/, beside the daemon.

option(UVECHOD_GETTEXT "Translate messages, if gettext is installed" ON)
set(UVECHOD_LANGUAGES de fr)

find_package(Intl QUIET)
find_program(UVECHOD_MSGFMT msgfmt)
mark_as_advanced(UVECHOD_MSGFMT Intl_INCLUDE_DIR Intl_LIBRARY)

if(NOT UVECHOD_GETTEXT OR NOT Intl_FOUND OR NOT UVECHOD_MSGFMT)
    message(STATUS "gettext: not used, messages are English")
    target_compile_definitions(uvechod_flags INTERFACE UVECHOD_GETTEXT=0)
    return()
endif()
list(JOIN UVECHOD_LANGUAGES ", " languages)
message(STATUS "gettext: ${languages}")

file(RELATIVE_PATH localedir_from_program
    "${CMAKE_INSTALL_FULL_LIBEXECDIR}/uvechod" "${CMAKE_INSTALL_FULL_LOCALEDIR}")
target_compile_definitions(uvechod_flags INTERFACE
    UVECHOD_GETTEXT=1
    UVECHOD_LOCALEDIR="${CMAKE_INSTALL_FULL_LOCALEDIR}"
    UVECHOD_LOCALEDIR_FROM_PROGRAM="${localedir_from_program}")
target_link_libraries(uvechod_flags INTERFACE Intl::Intl)

set(catalogues)
foreach(language IN LISTS UVECHOD_LANGUAGES)
    set(po "${PROJECT_SOURCE_DIR}/src/share/po/${language}.po")
    set(directory "${PROJECT_BINARY_DIR}/locale/${language}/LC_MESSAGES")
    file(MAKE_DIRECTORY "${directory}")
    # --check, because a translation with other %s than the original would crash the daemon.
    add_custom_command(OUTPUT "${directory}/uvechod.mo"
        COMMAND "${UVECHOD_MSGFMT}" --check --output-file "${directory}/uvechod.mo" "${po}"
        DEPENDS "${po}" VERBATIM)
    list(APPEND catalogues "${directory}/uvechod.mo")
    install(FILES "${directory}/uvechod.mo"
        DESTINATION "${CMAKE_INSTALL_LOCALEDIR}/${language}/LC_MESSAGES")
endforeach()
add_custom_target(translations ALL DEPENDS ${catalogues})
