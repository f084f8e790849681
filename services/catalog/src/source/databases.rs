//! `databases`, and the legal basis that databases and entries share.

use super::object::Reader;
use super::tree::Located;
use crate::catalog::{Database, DatabaseDataset, LegalBasis};
use crate::words;

pub(super) fn database(reader: &mut Reader<'_>, node: &Located) -> Option<Database> {
    let mut object = reader.object(node, "the database")?;
    let (id, name_vi) = (object.formatted("id", is_dotted, DOTTED), object.text("name_vi"));
    let kind = object.required_word("kind", words::DATABASE_KINDS);
    let owner_code = object.text("owner_code");
    let special_operational = object.flag("special_operational");
    let sector = object.optional_text("sector");
    let lists = object.texts("lists");
    let (basis_nodes, dataset_nodes) = (object.items("legal_basis"), object.items("datasets"));
    let sound = object.finish();
    let legal_basis = legal_basis(reader, &basis_nodes);
    let datasets: Vec<DatabaseDataset> =
        dataset_nodes.iter().filter_map(|node| dataset(reader, node)).collect();
    let sound = sound && datasets.len() == dataset_nodes.len();
    let legal_basis = legal_basis.filter(|_| sound)?;
    Some(Database {
        id,
        name_vi,
        kind: kind?,
        owner_code,
        legal_basis,
        special_operational,
        sector,
        lists,
        datasets,
    })
}

fn dataset(reader: &mut Reader<'_>, node: &Located) -> Option<DatabaseDataset> {
    let mut object = reader.object(node, "the dataset")?;
    let id = object.formatted("id", is_dotted, DOTTED);
    let master = object.flag("master");
    object.finish().then_some(DatabaseDataset { id, master })
}

/// A list of instruments; `None` where one of them has a mistake.
pub(super) fn legal_basis(reader: &mut Reader<'_>, nodes: &[&Located]) -> Option<Vec<LegalBasis>> {
    let mut read = Vec::new();
    for node in nodes {
        let Some(mut object) = reader.object(node, "the legal basis") else {
            continue;
        };
        let basis = LegalBasis {
            instrument: object.text("instrument"),
            article: object.optional_text("article"),
            note: object.optional_text("note"),
        };
        if object.finish() {
            read.push(basis);
        }
    }
    (read.len() == nodes.len()).then_some(read)
}

/// What [`is_dotted`] wants, in words.
pub(super) const DOTTED: &str = "groups of [a-z0-9_] split by \".\"";

/// True for the identifier of a database or dataset: groups of `[a-z0-9_]` split by `.`.
pub(super) fn is_dotted(id: &str) -> bool {
    id.split('.').all(|group| {
        !group.is_empty() && group.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    })
}
