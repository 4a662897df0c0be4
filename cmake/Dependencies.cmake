# The libraries, as imported targets PkgConfig::LIBUV and, for the tests, PkgConfig::CMOCKA.

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
if(BUILD_TESTING)
    uvechod_require(CMOCKA cmocka libcmocka-dev libcmocka-devel cmocka-dev cmocka
        "Only the tests need it: -DBUILD_TESTING=OFF does without.")
endif()
