# Imported targets: PkgConfig::LIBUV; PkgConfig::LIBSYSTEMD if libsystemd is wanted and installed
# (LIBSYSTEMD_FOUND); and, if the tests are built, PkgConfig::CMOCKA. Of libmicrohttpd only the header
# is used, if it is wanted and installed (LIBMICROHTTPD_FOUND).

option(UVECHOD_SYSTEMD "Support systemd, if libsystemd is installed" ON)
option(UVECHOD_METRICS "Serve metrics, if libmicrohttpd is installed" ON)

find_package(PkgConfig)
if(NOT PKG_CONFIG_FOUND)
    message(FATAL_ERROR "pkg-config not found. Install: pkg-config (Debian), "
        "pkgconf-pkg-config (Fedora), pkgconf (Alpine, Homebrew).")
endif()

function(uvechod_require prefix module debian fedora alpine homebrew)
    pkg_check_modules(${prefix} QUIET IMPORTED_TARGET "${module}")
    if(NOT ${prefix}_FOUND)
        message(FATAL_ERROR "${module} not found. Install: ${debian} (Debian), ${fedora} (Fedora), "
            "${alpine} (Alpine), ${homebrew} (Homebrew). ${ARGN}")
    endif()
    message(STATUS "${module}: ${${prefix}_VERSION}")
endfunction()

uvechod_require(LIBUV "libuv>=1.44" libuv1-dev libuv-devel libuv-dev libuv)
if(UVECHOD_SYSTEMD)
    pkg_check_modules(LIBSYSTEMD QUIET IMPORTED_TARGET libsystemd)
else()
    set(LIBSYSTEMD_FOUND FALSE) # hides the value that an earlier run has left in the cache
endif()
if(LIBSYSTEMD_FOUND)
    message(STATUS "libsystemd: ${LIBSYSTEMD_VERSION}")
else()
    message(STATUS "libsystemd: not used")
endif()
if(UVECHOD_METRICS)
    pkg_check_modules(LIBMICROHTTPD QUIET "libmicrohttpd>=0.9.71") # enum MHD_Result
else()
    set(LIBMICROHTTPD_FOUND FALSE)
endif()
if(LIBMICROHTTPD_FOUND)
    message(STATUS "libmicrohttpd: ${LIBMICROHTTPD_VERSION}")
else()
    message(STATUS "libmicrohttpd: not used")
endif()
if(BUILD_TESTING)
    uvechod_require(CMOCKA cmocka libcmocka-dev libcmocka-devel cmocka-dev cmocka
        "Only the tests need it: build without them by -DBUILD_TESTING=OFF.")
endif()
