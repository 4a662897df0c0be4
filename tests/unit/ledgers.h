/*
 * ledgers.h - a ledger for the tests of what notes connections there.
 */
#ifndef UVECHOD_TESTS_LEDGERS_H
#define UVECHOD_TESTS_LEDGERS_H

#include "stream/conn.h"
#include "unit/support.h"

/* More descriptors than a test has. */
enum { LEDGERS_ENTRIES = 4096, LEDGERS_LOOPS = 8 };

/* Opens an empty ledger for these services, which the test closes with ledger_close(). */
static inline void ledger_of(struct ledger *ledger, const struct services *services)
{
    struct ledger_layout layout;
    services_layout(services, LEDGERS_LOOPS, LEDGERS_ENTRIES, &layout);
    assert_int_equal(ledger_open(ledger, &layout), 0);
    assert_int_equal(ledger->refused, 0);
}

#endif
