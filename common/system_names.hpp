// Names of signals and errors that this system has and others have not.
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
