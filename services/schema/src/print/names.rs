//! How a name is written so that it means what it should where it stands (protobuf language, "Type name resolution").

use std::collections::HashSet;

use prost_reflect::DescriptorPool;

/// Every name of a pool.
pub struct Names(HashSet<String>);

impl Names {
    /// The names of a pool, packages and their beginnings included.
    pub fn of(pool: &DescriptorPool) -> Self {
        let mut names = HashSet::new();
        for file in pool.files() {
            let mut package = file.package_name();
            while !package.is_empty() {
                names.insert(package.to_owned());
                package = package.rsplit_once('.').map_or("", |(outer, _)| outer);
            }
        }
        for message in pool.all_messages() {
            names.extend(message.fields().map(|field| field.full_name().to_owned()));
            names.extend(message.oneofs().map(|oneof| oneof.full_name().to_owned()));
            names.insert(message.full_name().to_owned());
        }
        for values in pool.all_enums() {
            names.extend(values.values().map(|value| value.full_name().to_owned()));
            names.insert(values.full_name().to_owned());
        }
        names.extend(pool.all_extensions().map(|extension| extension.full_name().to_owned()));
        for service in pool.services() {
            names.extend(service.methods().map(|method| method.full_name().to_owned()));
            names.insert(service.full_name().to_owned());
        }
        Self(names)
    }

    /// A name as it is written inside `scope`: without the package where it is the same, as short as it can be; in full
    /// otherwise; with a leading dot where nothing else is certain.
    pub fn seen_from(&self, scope: &str, package: &str, name: &str) -> String {
        let prefix = if package.is_empty() { String::new() } else { format!("{package}.") };
        if let Some(inner) = name.strip_prefix(&prefix) {
            let parts: Vec<&str> = inner.split('.').collect();
            for start in (0..parts.len()).rev() {
                let candidate = parts[start..].join(".");
                if self.means(scope, &candidate, name) {
                    return candidate;
                }
            }
        }
        if self.means(scope, name, name) { name.to_owned() } else { format!(".{name}") }
    }

    /// Whether `candidate`, written inside `scope`, is certainly `name`: the first scope, from the innermost, that has
    /// anything of the candidate's first word must lead there.
    fn means(&self, scope: &str, candidate: &str, name: &str) -> bool {
        let first = candidate.split('.').next().unwrap_or_default();
        let mut scope = Some(scope);
        while let Some(inside) = scope {
            let within =
                |word: &str| if inside.is_empty() { word.to_owned() } else { format!("{inside}.{word}") };
            if self.0.contains(&within(first)) {
                return within(candidate) == name;
            }
            scope = match inside {
                "" => None,
                inside => Some(inside.rsplit_once('.').map_or("", |(outer, _)| outer)),
            };
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_where_they_are_certain() {
        let names = ["a", "a.b", "a.b.C", "a.b.C.D", "a.b.D", "x", "x.Y", "a.b.C.x"];
        let names = Names(names.map(str::to_owned).into());
        for (scope, name, written) in [
            ("a.b.C", "a.b.C.D", "D"),
            ("a.b", "a.b.C.D", "C.D"),
            ("a.b.C", "a.b.D", "a.b.D"),
            ("a.b", "a.b.D", "D"),
            ("a.b", "x.Y", "x.Y"),
            // Something else is called x there.
            ("a.b.C", "x.Y", ".x.Y"),
        ] {
            assert_eq!(names.seen_from(scope, "a.b", name), written, "{name} from {scope}");
        }
    }
}
