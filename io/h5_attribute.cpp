/// Attributes: written, and read as whatever type they have.

#include "io/h5.hpp"

namespace motley::h5 {

void write_attribute(hid_t object, const std::string& name, std::string_view text) {
  const std::string copy(text);
  const char* pointer = copy.c_str();
  write_attribute(object, name, Type::text, &pointer);
}

void write_attribute(hid_t object, const std::string& name, Type type, const void* value,
                     std::size_t count) {
  const std::string what = "writing attribute " + name;
  const Handle element = make_type(type);
  const hsize_t dim = count;
  const Handle space = own(count == 1 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &dim, nullptr),
                           ErrorKind::io, what);
  const Handle attribute =
      own(H5Acreate2(object, name.c_str(), element, space, H5P_DEFAULT, H5P_DEFAULT), ErrorKind::io,
          what);
  check(H5Awrite(attribute, element, value), ErrorKind::io, what);
}

namespace {

std::string read_text(hid_t attribute, hid_t type, const std::string& what) {
  if (H5Tis_variable_str(type) > 0) {
    const Handle memory = make_type(Type::text);
    char* pointer = nullptr;
    check(H5Aread(attribute, memory, &pointer), ErrorKind::input, what);
    std::string text = pointer == nullptr ? "" : pointer;
    H5free_memory(pointer);
    return text;
  }
  std::string text(H5Tget_size(type), '\0');
  check(H5Aread(attribute, type, text.data()), ErrorKind::input, what);
  return text.substr(0, text.find('\0'));
}

bool read_value(hid_t attribute, const std::string& what, AttributeValue& value) {
  const Handle type = own(H5Aget_type(attribute), ErrorKind::input, what);
  const Handle space = own(H5Aget_space(attribute), ErrorKind::input, what);
  if (H5Sget_simple_extent_npoints(space) != 1) return false;
  switch (H5Tget_class(type)) {
    case H5T_STRING: value = read_text(attribute, type, what); return true;
    case H5T_FLOAT: {
      double number = 0;
      check(H5Aread(attribute, H5T_NATIVE_DOUBLE, &number), ErrorKind::input, what);
      value = number;
      return true;
    }
    case H5T_INTEGER: {
      std::int64_t number = 0;
      check(H5Aread(attribute, H5T_NATIVE_INT64, &number), ErrorKind::input, what);
      if (H5Tget_size(type) == 1)
        value = number != 0;
      else
        value = number;
      return true;
    }
    default: return false;
  }
}

}  // namespace

std::string read_text_attribute(hid_t object, const std::string& name, const std::string& what) {
  if (H5Aexists(object, name.c_str()) <= 0) return "";
  const Handle attribute = own(H5Aopen(object, name.c_str(), H5P_DEFAULT), ErrorKind::input, what);
  AttributeValue value;
  if (!read_value(attribute, what, value) || !std::holds_alternative<std::string>(value))
    throw Error(ErrorKind::input, concat(what, ": attribute ", name, " is no text"));
  return std::get<std::string>(value);
}

std::vector<Attribute> read_attributes(hid_t object, const std::string& what) {
  std::vector<std::string> names;
  const auto collect_name = [](hid_t, const char* name, const H5A_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->emplace_back(name);
    return 0;
  };
  check(H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, nullptr, collect_name, &names),
        ErrorKind::input, what);
  std::vector<Attribute> result;
  for (const std::string& name : names) {
    const Handle attribute =
        own(H5Aopen(object, name.c_str(), H5P_DEFAULT), ErrorKind::input, what);
    Attribute item{name, {}};
    if (read_value(attribute, what, item.value)) result.push_back(std::move(item));
  }
  return result;
}

}  // namespace motley::h5
