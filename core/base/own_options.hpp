#pragma once
/// Options that a registered method brings along: a struct known to the method alone.
///
/// A method has a nested `struct Options` with a member template
///     template <class V> void describe(V&& v) {
///       v("weight", weight, between(0, 10), "1", "one sentence");
///     }
/// whose names are completed by the section: the method's own name. Members are double, int, bool
/// or (tasks) std::string. The box below carries such a struct through configuration, files and
/// checks, which know its names, ranges and sentences but not its type.

#include <memory>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include "core/base/describe.hpp"
#include "core/base/error.hpp"

namespace motley {

/// Reads a list of options; the parameter v of `Options::describe`.
class OptionSink {
 public:
  virtual ~OptionSink() = default;
  virtual void operator()(const char* name, double& member, const Range& allowed, const char* unit,
                          const char* text) = 0;
  virtual void operator()(const char* name, int& member, const Range& allowed, const char* unit,
                          const char* text) = 0;
  virtual void operator()(const char* name, bool& member, const AnyValue& allowed, const char* unit,
                          const char* text) = 0;
  virtual void operator()(const char* name, std::string& member, const OneOf& allowed,
                          const char* unit, const char* text) = 0;
};

/// A method without options.
struct NoOptions {
  template <class V>
  void describe(V&&) {}
};

namespace detail {
template <class Method>
struct OptionsOf {
  using type = NoOptions;
};
template <class Method>
requires requires {
  typename Method::Options;
}
struct OptionsOf<Method> {
  using type = typename Method::Options;
};
}  // namespace detail
/// Method::Options, or NoOptions where there are none.
template <class Method>
using OptionsOf = typename detail::OptionsOf<Method>::type;

/// A copyable box around the options of one method.
class OwnOptions {
 public:
  /// \param section the method's name: the keys are section.name
  template <class T>
  OwnOptions(std::string section, T values)
      : section_(std::move(section)), box_(std::make_unique<Holder<T>>(std::move(values))) {}
  OwnOptions(const OwnOptions& other) : section_(other.section_), box_(other.box_->clone()) {}
  OwnOptions(OwnOptions&&) = default;
  OwnOptions& operator=(OwnOptions other) {
    section_.swap(other.section_);
    box_.swap(other.box_);
    return *this;
  }
  ~OwnOptions() = default;

  const std::string& section() const { return section_; }
  void describe(OptionSink& sink) { box_->describe(sink); }
  /// The struct itself. Throws Error(internal) where it is of another type.
  template <class T>
  const T& as() const {
    const auto* holder = dynamic_cast<const Holder<T>*>(box_.get());
    MOTLEY_REQUIRE(holder != nullptr, ErrorKind::internal, "options of ", section_,
                   " are not of the type ", typeid(T).name());
    return holder->values;
  }

 private:
  struct Box {
    virtual ~Box() = default;
    virtual std::unique_ptr<Box> clone() const = 0;
    virtual void describe(OptionSink& sink) = 0;
  };
  template <class T>
  struct Holder final : Box {
    explicit Holder(T v) : values(std::move(v)) {}
    std::unique_ptr<Box> clone() const override { return std::make_unique<Holder>(values); }
    void describe(OptionSink& sink) override { values.describe(sink); }
    T values;
  };

  std::string section_;
  std::unique_ptr<Box> box_;
};

/// The boxes of all registered methods of a kind, in the order of their names.
using OwnSettings = std::vector<OwnOptions>;

/// The box of a section. Throws Error(internal) where there is none.
inline const OwnOptions& own_options(const OwnSettings& settings, const std::string& section) {
  for (const OwnOptions& options : settings)
    if (options.section() == section) return options;
  throw Error(ErrorKind::internal, concat("no options of ", section));
}

namespace detail {

/// Hands what a box describes to a visitor of `describe`, under the full key.
template <class Visitor, bool kConst>
class SectionSink final : public OptionSink {
 public:
  SectionSink(Visitor& visitor, const std::string& section)
      : visitor_(visitor), section_(section) {}
  void operator()(const char* name, double& m, const Range& a, const char* unit,
                  const char* text) override {
    pass(name, m, a, unit, text);
  }
  void operator()(const char* name, int& m, const Range& a, const char* unit,
                  const char* text) override {
    pass(name, m, a, unit, text);
  }
  void operator()(const char* name, bool& m, const AnyValue& a, const char* unit,
                  const char* text) override {
    pass(name, m, a, unit, text);
  }
  void operator()(const char* name, std::string& m, const OneOf& a, const char* unit,
                  const char* text) override {
    pass(name, m, a, unit, text);
  }

 private:
  template <class T, class Allowed>
  void pass(const char* name, T& member, const Allowed& allowed, const char* unit,
            const char* text) {
    const std::string key = section_ + "." + name;
    if constexpr (kConst)
      visitor_(key.c_str(), std::as_const(member), allowed, unit, text);
    else
      visitor_(key.c_str(), member, allowed, unit, text);
  }
  Visitor& visitor_;
  const std::string& section_;
};

}  // namespace detail

template <class C, class Visitor>
void describe(C& settings,
              Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, OwnSettings> {
  using Plain = std::remove_reference_t<Visitor>;
  constexpr bool kConst = std::is_const_v<C>;
  for (auto& options : settings) {
    detail::SectionSink<Plain, kConst> sink(v, options.section());
    if constexpr (kConst) {
      OwnOptions copy = options;
      copy.describe(sink);
    } else {
      options.describe(sink);
    }
  }
}

}  // namespace motley
