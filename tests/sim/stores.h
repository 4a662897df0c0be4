/*
 * stores.h - the simulation sees each store to the ledger. The files of src/ that note something
 * there are compiled once more for the simulation, and the compiler includes this file before them:
 * the process can die between any two stores, so what they leave is checked after each of them.
 */
#ifndef UVECHOD_SIM_STORES_H
#define UVECHOD_SIM_STORES_H

#include <stdatomic.h>

void ledgers_store(void);
void ledgers_stored(const volatile void *field);

#undef atomic_store_explicit
#define atomic_store_explicit(field, value, order)                                                 \
    ((void)(order), ledgers_store(), (void)(*(field) = (value)), ledgers_stored(field))

#endif
