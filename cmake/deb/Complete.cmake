# cpack runs this on the staged tree: it adds changelog, copyright and the overrides for lintian,
# and compresses the files that Debian wants compressed. gzip -n writes no time, so that equal
# contents give equal files.

set(share "${CPACK_TEMPORARY_DIRECTORY}/usr/share")
set(doc "${share}/doc/uvechod")
set(changelog "${CPACK_UVECHOD_DEB_DIR}/changelog")

# Without an entry for this version, the changelog would describe the release before.
file(STRINGS "${changelog}" newest LIMIT_COUNT 1)
if(NOT newest MATCHES "^uvechod \\(${CPACK_PACKAGE_VERSION}\\) ")
    message(FATAL_ERROR "${changelog} begins with '${newest}', not with ${CPACK_PACKAGE_VERSION}")
endif()

set(mode OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
file(COPY "${changelog}" "${CPACK_UVECHOD_DEB_DIR}/copyright"
    DESTINATION "${doc}" FILE_PERMISSIONS ${mode})
file(COPY "${CPACK_UVECHOD_DEB_DIR}/lintian/uvechod"
    DESTINATION "${share}/lintian/overrides" FILE_PERMISSIONS ${mode})
execute_process(
    COMMAND gzip -9nf "${doc}/changelog" "${share}/man/man8/uvechod.8"
    RESULT_VARIABLE result)
if(NOT result EQUAL 0)
    message(FATAL_ERROR "gzip: ${result}")
endif()
