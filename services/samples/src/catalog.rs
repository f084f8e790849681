//! The sample catalog, as the demonstration and the tests write it into a folder for the broker.

/// Name and text of every catalog file.
pub const CATALOG: [(&str, &str); 5] = [
    ("agencies.yaml", include_str!("../catalog/agencies.yaml")),
    ("databases.yaml", include_str!("../catalog/databases.yaml")),
    ("dictionary.yaml", include_str!("../catalog/dictionary.yaml")),
    ("entries.yaml", include_str!("../catalog/entries.yaml")),
    ("trial.yaml", include_str!("../catalog/trial.yaml")),
];
