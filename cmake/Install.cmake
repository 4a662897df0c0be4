# cmake --install: beside the daemon its man page, shell completion and systemd units. The
# catalogues see to themselves, in Translations.cmake.

install(TARGETS uvechod RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(FILES src/share/completion/uvechod.bash RENAME uvechod
    DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")

# uvechod_install_configured(<directory> <name>.in): installs <name> with its @VARIABLES@ filled in
# anew, because cmake --install --prefix may change the paths that a unit has to name. What the
# prefix of the build gives is in the build tree, in configured/.
function(uvechod_install_configured directory template)
    get_filename_component(name "${template}" NAME_WLE)
    configure_file("${template}" "${PROJECT_BINARY_DIR}/configured/${name}" @ONLY)
    set(again "${PROJECT_BINARY_DIR}/configured/installed/${name}")
    file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/configured/installed")
    install(CODE "
        set(PROJECT_VERSION \"${PROJECT_VERSION}\")
        set(BINDIR \"${CMAKE_INSTALL_BINDIR}\")
        set(DOCDIR \"${CMAKE_INSTALL_DOCDIR}\")
        foreach(dir BINDIR DOCDIR)
            cmake_path(ABSOLUTE_PATH \${dir} BASE_DIRECTORY \"\${CMAKE_INSTALL_PREFIX}\"
                OUTPUT_VARIABLE CMAKE_INSTALL_FULL_\${dir})
        endforeach()
        file(REMOVE \"${again}\") # or it might be root's, from a sudo cmake --install
        configure_file(\"${PROJECT_SOURCE_DIR}/${template}\" \"${again}\" @ONLY)")
    install(FILES "${again}" DESTINATION "${directory}")
endfunction()

uvechod_install_configured("${CMAKE_INSTALL_MANDIR}/man8" src/share/man/uvechod.8.in)

# Under a prefix of /usr or /usr/local that is where systemd looks. Debian wants units there too,
# and not in /lib, which systemd.pc of older releases names.
set(UVECHOD_UNITDIR lib/systemd/system CACHE STRING "Where the systemd units are installed")

# The service says that it is ready, which it cannot without libsystemd.
if(LIBSYSTEMD_FOUND)
    uvechod_install_configured("${UVECHOD_UNITDIR}" systemd/uvechod.service.in)
    uvechod_install_configured("${UVECHOD_UNITDIR}" systemd/uvechod.socket.in)
    uvechod_install_configured("${CMAKE_INSTALL_DOCDIR}" systemd/own-port.conf.in)
endif()
