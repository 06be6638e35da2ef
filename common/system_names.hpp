// Names of the signals and errors that are specific to this system.
#pragma once

#include <span>

namespace jobshim {

struct NamedNumber {
    int number;
    const char* name;
};

std::span<const NamedNumber> signals_of_this_system();  // "PWR"
std::span<const NamedNumber> errors_of_this_system();   // "ELIBBAD"

}  // namespace jobshim
