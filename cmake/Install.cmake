# What cmake --install installs: the daemon, its man page, shell completion and systemd units.
# Translations.cmake installs the catalogues.

# The daemon has a directory of its own, which is what its systemd unit allows to be executed, and a
# link where people look for programs.
install(TARGETS uvechod RUNTIME DESTINATION "${CMAKE_INSTALL_LIBEXECDIR}/uvechod")
file(RELATIVE_PATH target
    "${CMAKE_INSTALL_FULL_BINDIR}" "${CMAKE_INSTALL_FULL_LIBEXECDIR}/uvechod/uvechod")
file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/configured/bin")
file(CREATE_LINK "${target}" "${PROJECT_BINARY_DIR}/configured/bin/uvechod" SYMBOLIC)
install(FILES "${PROJECT_BINARY_DIR}/configured/bin/uvechod" DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(FILES src/share/completion/uvechod.bash RENAME uvechod
    DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")

# uvechod_install_configured(<directory> <name>.in): installs <name> with its @VARIABLES@ filled in.
# They are filled in during the installation, because cmake --install --prefix may change the paths.
# configured/ in the build tree has the file with the paths of the build's own prefix.
function(uvechod_install_configured directory template)
    get_filename_component(name "${template}" NAME_WLE)
    configure_file("${template}" "${PROJECT_BINARY_DIR}/configured/${name}" @ONLY)
    set(again "${PROJECT_BINARY_DIR}/configured/installed/${name}")
    file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/configured/installed")
    install(CODE "
        set(PROJECT_VERSION \"${PROJECT_VERSION}\")
        set(BINDIR \"${CMAKE_INSTALL_BINDIR}\")
        set(LIBEXECDIR \"${CMAKE_INSTALL_LIBEXECDIR}\")
        set(DOCDIR \"${CMAKE_INSTALL_DOCDIR}\")
        foreach(dir BINDIR LIBEXECDIR DOCDIR)
            cmake_path(ABSOLUTE_PATH \${dir} BASE_DIRECTORY \"\${CMAKE_INSTALL_PREFIX}\"
                OUTPUT_VARIABLE CMAKE_INSTALL_FULL_\${dir})
        endforeach()
        file(REMOVE \"${again}\") # may belong to root after a sudo cmake --install
        configure_file(\"${PROJECT_SOURCE_DIR}/${template}\" \"${again}\" @ONLY)")
    install(FILES "${again}" DESTINATION "${directory}")
endfunction()

uvechod_install_configured("${CMAKE_INSTALL_MANDIR}/man8" src/share/man/uvechod.8.in)

# systemd looks here if the prefix is /usr or /usr/local. Debian wants this directory, too.
# systemd.pc is not asked, because older releases name /lib.
set(UVECHOD_UNITDIR lib/systemd/system CACHE STRING "Where the systemd units are installed")

# The unit waits until the daemon says that it is ready. Without libsystemd the daemon cannot.
if(LIBSYSTEMD_FOUND)
    uvechod_install_configured("${UVECHOD_UNITDIR}" systemd/uvechod.service.in)
    uvechod_install_configured("${UVECHOD_UNITDIR}" systemd/uvechod.socket.in)
    uvechod_install_configured("${CMAKE_INSTALL_DOCDIR}" systemd/own-port.conf.in)
    uvechod_install_configured("${CMAKE_INSTALL_DOCDIR}" systemd/keep.conf.in)
endif()
