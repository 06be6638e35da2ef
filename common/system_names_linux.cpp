#include <cerrno>
#include <csignal>

#include "common/system_names.hpp"

namespace jobshim {

std::span<const NamedNumber> signals_of_this_system() {
    static constexpr NamedNumber names[] = {
        {SIGPWR, "PWR"},
#ifdef SIGSTKFLT  // MIPS and SPARC lack it
        {SIGSTKFLT, "STKFLT"},
#endif
    };
    return names;
}

std::span<const NamedNumber> errors_of_this_system() {
    static constexpr NamedNumber names[] = {{ELIBBAD, "ELIBBAD"}};
    return names;
}

}  // namespace jobshim
