//! `lienthong proto list`: what one may call.

use std::process::ExitCode;

use anyhow::Result;
use lienthong_proto::lienthong::catalog::v1::{CallableMethod, PurposeFields};
use serde_json::{Value, json};

use super::{
    ListArgs,
    served::{Served, short},
};
use crate::out::{self, Colour, paint};

/// Prints the methods, one a line, or one JSON array.
pub async fn run(args: ListArgs) -> Result<ExitCode> {
    let methods = Served::new(args.ask)?.callable().await?;
    if args.json {
        let all: Vec<Value> = methods.iter().map(to_json).collect();
        out::line(&serde_json::to_string_pretty(&all)?);
    } else if methods.is_empty() {
        out::note(
            "There is nothing that you may call here.\nKhông có phương thức nào mà hệ thống này được gọi.",
        );
    } else {
        out::raw(&table(&methods, out::stdout_is_terminal()));
    }
    Ok(ExitCode::SUCCESS)
}

fn to_json(method: &CallableMethod) -> Value {
    let purposes: Vec<Value> = method
        .purposes
        .iter()
        .map(|granted| json!({ "purpose": purpose(granted), "fields": granted.fields }))
        .collect();
    json!({
        "path": method.path,
        "provider": method.provider,
        "dataset": method.dataset,
        "kind": method.kind().as_str_name().trim_start_matches("METHOD_KIND_"),
        "purposes": purposes,
        "contract_version": hex::encode(&method.contract_hash),
    })
}

/// Columns as wide as their widest entry. Pure.
fn table(methods: &[CallableMethod], colourful: bool) -> String {
    let rows: Vec<[String; 5]> = methods
        .iter()
        .map(|method| {
            [
                method.path.clone(),
                method.provider.clone(),
                method.dataset.clone(),
                short(&hex::encode(&method.contract_hash)).to_owned(),
                method.purposes.iter().map(purpose).collect::<Vec<_>>().join(", "),
            ]
        })
        .collect();
    let head = ["METHOD", "PROVIDER", "DATASET", "VERSION", "PURPOSES"].map(str::to_owned);
    let width = |column: usize| {
        rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths = [0, 1, 2, 3, 4].map(width);
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut table = paint(Colour::Bold, &line(&head), colourful) + "\n";
    for row in &rows {
        table.push_str(&line(row));
        table.push('\n');
    }
    table
}

fn purpose(granted: &PurposeFields) -> String {
    match granted.purpose().as_str_name().trim_start_matches("PURPOSE_") {
        // A right that holds for each purpose that is stated: open data.
        "UNSPECIFIED" => "any".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use lienthong_proto::lienthong::options::v1::Purpose;

    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let method = |path: &str, provider: &str| CallableMethod {
            path: path.to_owned(),
            provider: provider.to_owned(),
            dataset: "a.b".to_owned(),
            purposes: vec![
                PurposeFields {
                    purpose: Purpose::Verification.into(),
                    fields: vec!["x".to_owned()],
                    ..PurposeFields::default()
                },
                PurposeFields::default(),
            ],
            contract_hash: vec![0xab; 32],
            ..CallableMethod::default()
        };
        let table = table(&[method("/a.B/C", "G01"), method("/a.B/LongName", "G12.90")], false);
        assert_eq!(
            table,
            "METHOD         PROVIDER  DATASET  VERSION       PURPOSES\n\
             /a.B/C         G01       a.b      abababababab  VERIFICATION, any\n\
             /a.B/LongName  G12.90    a.b      abababababab  VERIFICATION, any\n"
        );
    }
}
