/*
 * services.h - the services of the workers in these tests: only the echo, with the prefix "GOT:".
 */
#ifndef UVECHOD_TESTS_SERVICES_H
#define UVECHOD_TESTS_SERVICES_H

#include "service/echo.h"

static inline struct services echo_services(void)
{
    static const struct echo_config echo = {.prefix = "GOT:", .prefix_len = 4, .chunk = 1000};
    static const struct service list[] = {{.handler = &echo_handler, .config = &echo}};
    return (struct services){.list = list, .count = 1};
}

#endif
