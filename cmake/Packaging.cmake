# The Debian package. sh cmake/package.sh makes a build with all features and runs cpack -G DEB.

set(UVECHOD_MAINTAINER "The uvechod authors <uvechod@packages.invalid>"
    CACHE STRING "The maintainer of the package, with an e-mail address")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_VENDOR "The uvechod authors")
set(CPACK_PACKAGE_CONTACT "${UVECHOD_MAINTAINER}")
# The binary is stripped; a second package contains the debug symbols.
set(CPACK_DEBIAN_DEBUGINFO_PACKAGE ON)
# The permissions must not depend on the umask of the user who builds the package.
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
# DESTDIR, so that the files of uvechod_install_configured() name paths below the prefix and not
# below the staging directory.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT) # uvechod_<version>_<architecture>.deb
set(CPACK_DEBIAN_PACKAGE_NAME uvechod)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "${UVECHOD_MAINTAINER}")
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
# The synopsis is the description of the project. cpack indents the text below it.
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"uvechod answers every chunk that a TCP client sends with a prefix and the
chunk, or with the bytes alone, as the echo protocol of RFC 862 asks. It is
the far end of reachability, latency and integrity probes: a target for load
balancers, proxies, firewall rules and client libraries.

It serves any number of clients at once, none of which can hold up another,
and runs as a sandboxed systemd service that its first connection starts.
Nothing listens until uvechod.socket is enabled.")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS procps) # its kill, for the unit's ExecReload=
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS libmicrohttpd12) # loaded for --metrics only
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    "${PROJECT_SOURCE_DIR}/cmake/deb/postinst"
    "${PROJECT_SOURCE_DIR}/cmake/deb/prerm"
    "${PROJECT_SOURCE_DIR}/cmake/deb/postrm")
# Runs between installation and packing, and adds the files that only Debian needs.
set(CPACK_PRE_BUILD_SCRIPTS "${PROJECT_SOURCE_DIR}/cmake/deb/Complete.cmake")
set(CPACK_UVECHOD_DEB_DIR "${PROJECT_SOURCE_DIR}/cmake/deb")

set(CPACK_SOURCE_GENERATOR "")
include(CPack)
