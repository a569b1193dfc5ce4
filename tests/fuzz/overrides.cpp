/// key=value words, one a line; and the words of every subcommand's flags.

#include "experiments/options.hpp"
#include "target.hpp"

namespace motley::fuzz {
namespace {

void run(const std::uint8_t* data, std::size_t size) {
  const std::vector<std::string> words = lines_of(text_of(data, size));
  may_refuse([&] {
    Faults faults;
    configure({read_overrides(words, faults)}, faults);
    faults.raise();
  });
  may_refuse([&] {
    const std::vector<FlagSpec> flags = {{"config", 'c', 'i', "FILE", "a file"},
                                         {"max-time", 't', 0, "TIME", "a time"},
                                         {"json", 0, 0, "", "a switch"}};
    const CommandLine line = parse_command_line("train", words, flags);
    for (const std::string& word : line.positional) {
      std::int64_t whole = 0;
      double number = 0;
      parse_integer(word, whole);
      parse_number(word, number);
    }
  });
}

const Registration registration("overrides", run);

}  // namespace
}  // namespace motley::fuzz
