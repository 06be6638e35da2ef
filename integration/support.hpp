#pragma once

// Everything a black-box test needs; each part says what it promises.

#include "integration/support/descriptors.hpp"
#include "integration/support/files.hpp"
#include "integration/support/jobs.hpp"
#include "integration/support/json.hpp"
#include "integration/support/matrix.hpp"
#include "integration/support/proc.hpp"
#include "integration/support/process.hpp"
#include "integration/support/programs.hpp"
#include "integration/support/sandbox.hpp"
#include "integration/support/terminal.hpp"
#include "integration/support/text.hpp"
#include "integration/support/waiting.hpp"
#include "tests/catch.hpp"
