// The door of rans/: bytes as symbols of an entropy coder.
//
//   coders.hpp    the two coders, their tables, and decoding with them
//   tables.hpp    counts to tables, what a table costs, tables as bits
//   encode.hpp    runs of symbols to units
//   streams.hpp   small byte streams: raw, a run, or coded
#pragma once
#include "rans/coders.hpp"
#include "rans/encode.hpp"
#include "rans/streams.hpp"
#include "rans/tables.hpp"
