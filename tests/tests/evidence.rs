//! The evidence of an exchange, judged by two programs that know nothing of each other: it stands without us, and what is
//! altered, left out or cosigned by somebody else is found by both.
#![allow(clippy::unwrap_used)] // test code

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lienthong_audit::note::{KeyKind, Note, NoteSignature, SigningKey, VerifierKey};
use lienthong_audit::policy::Policy;
use lienthong_audit::record;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_tests::officers::{Officers, text};
use lienthong_tests::{eventually, handling};
use serde_json::Value;

const LIST_CITIZENS: &str = "/vn.dancu.v1.CitizenService/ListCitizens";

/// Takes the evidence of an exchange away, with the provider's key, once its checkpoint has its witnesses; and the policy by which
/// it is judged. Genuine for both judges.
async fn evidence(officers: &Officers, exchange: &str) -> Result<(PathBuf, PathBuf)> {
    let (file, policy) = (officers.path("evidence.json"), officers.path("policy.txt"));
    fs::copy(&officers.mesh.mesh.layout.policy, &policy)?;
    let journal = officers.path("mesh/nodes/G01/journal");
    let arguments = [exchange, "--output", text(&file)?, "--journal", text(&journal)?];
    eventually("the node has written the key, and the witnesses have cosigned", async || {
        let taken = officers.audit("officer-G01", "evidence", &arguments).await?;
        ensure!(taken.success, "{}", taken.said);
        let judged = officers.judged(&file, Some(&policy)).await?;
        ensure!(judged.success && judged.said.ends_with("GENUINE\n"), "{}", judged.said);
        Ok(true)
    })
    .await?;
    let python = officers.judged_in_python(&file, Some(&policy)).await?;
    ensure!(python.success && python.said.ends_with("GENUINE\n"), "{}", python.said);
    Ok((file, policy))
}

#[tokio::test]
async fn the_evidence_stands_without_us_and_no_part_of_it_can_be_altered() -> Result<()> {
    let officers = Officers::start().await?;
    let exchange = officers.call().await?;
    officers.has_found_both_sides(&exchange).await?;
    let (file, policy) = evidence(&officers, &exchange).await?;
    let whole: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    let altered = officers.path("altered.json");
    let mut places = 0;
    for (number, place) in places_of(&whole).into_iter().enumerate() {
        let mut value = whole.clone();
        alter(value.pointer_mut(&place).unwrap(), number)?;
        fs::write(&altered, value.to_string())?;
        let judged = officers.judged(&altered, Some(&policy)).await?;
        ensure!(!judged.success, "{place} was altered and nobody saw it: {}", judged.said);
        if number % 5 == 0 {
            let python = officers.judged_in_python(&altered, Some(&policy)).await?;
            ensure!(
                !python.success,
                "{place} was altered and the second judge did not see it: {}",
                python.said
            );
        }
        places += 1;
    }
    ensure!(places > 40, "only {places} places to alter");
    officers.mesh.stop().await
}

/// What a policy asks of its witnesses cannot be had from somebody who only bears their names.
#[tokio::test]
async fn a_witness_with_another_key_convinces_neither_judge() -> Result<()> {
    let officers = Officers::start().await?;
    let exchange = officers.call().await?;
    let (file, policy) = evidence(&officers, &exchange).await?;
    let mut evidence: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    let genuine: Note = evidence["checkpoint"].as_str().context("no checkpoint")?.parse()?;
    let trusted = Policy::parse(&fs::read(&policy)?)?;
    let witnesses: Vec<&VerifierKey> = trusted.witnesses().iter().map(|witness| &witness.key).collect();
    let is_by = |line: &NoteSignature, key: &VerifierKey| line.name == key.name() && line.key_id == key.id();
    let (theirs, of_log): (Vec<_>, Vec<_>) =
        genuine.signatures().iter().cloned().partition(|line| witnesses.iter().any(|key| is_by(line, key)));

    let fake = |key: &&VerifierKey| {
        SigningKey::generate(key.name(), KeyKind::CosignatureV1)?.cosign(genuine.text(), 1_764_000_000)
    };
    let fakes = witnesses.iter().map(fake).collect::<Result<Vec<_>, _>>()?;
    let under =
        |(key, fake): (&&VerifierKey, &NoteSignature)| NoteSignature { key_id: key.id(), ..fake.clone() };
    let under_their_ids: Vec<NoteSignature> = witnesses.iter().zip(&fakes).map(under).collect();
    // A witness without whom there are enough.
    let spare = witnesses.iter().position(|key| !theirs.iter().any(|line| is_by(line, key))).unwrap_or(0);
    let needed: Vec<_> = theirs.iter().filter(|line| !is_by(line, witnesses[spare])).cloned().collect();

    let cases: [(&str, Vec<&[NoteSignature]>, bool); 6] = [
        ("the witnesses", vec![&theirs], true),
        ("enough of them", vec![&needed], true),
        ("fakes in their place", vec![&fakes], false),
        ("fakes in their place, under their key ids", vec![&under_their_ids], false),
        ("fakes beside them, whom nobody knows", vec![&theirs, &fakes], true),
        (
            "beside enough of them, one under a key id that is known",
            vec![&needed, &under_their_ids[spare..=spare]],
            false,
        ),
    ];
    let forged = officers.path("forged.json");
    for (cosigned_by, lines, holds) in cases {
        let mut note = Note::new(genuine.text())?;
        of_log.iter().chain(lines.into_iter().flatten()).for_each(|line| note.add(line.clone()));
        evidence["checkpoint"] = note.to_string().into();
        fs::write(&forged, evidence.to_string())?;
        let judged = officers.judged(&forged, Some(&policy)).await?;
        ensure!(judged.success == holds, "{cosigned_by}: {}", judged.said);
        let python = officers.judged_in_python(&forged, Some(&policy)).await?;
        ensure!(python.success == holds, "{cosigned_by}, and the second judge: {}", python.said);
    }
    officers.mesh.stop().await
}

/// A list names more people than a record has room for: the rest stands in continuations, and none of them can be left out.
#[tokio::test]
async fn evidence_about_many_people_is_whole_or_it_is_none() -> Result<()> {
    let officers = Officers::start().await?;
    let outcome = officers.mesh.office(LIST_CITIZENS, r#"{"pageSize":1000}"#, &handling()).await?;
    ensure!(outcome.error.is_none(), "the call failed: {:?}", outcome.error);
    let exchange = outcome.exchange_id.context("the answer names no exchange")?;
    let file = officers.path("evidence.json");
    let continuations = |evidence: &Value| -> Vec<usize> {
        let records = evidence["records"].as_array().unwrap();
        let is_one = |record: &Value| {
            let entry = STANDARD.decode(record["entry"].as_str().unwrap()).unwrap();
            matches!(record::decode(&entry).unwrap().body, Some(Body::Continuation(_)))
        };
        (0..records.len()).filter(|at| is_one(&records[*at])).collect()
    };
    let mut whole = Value::Null;
    eventually("both sides are on record", async || {
        let taken = officers.audit("auditor", "evidence", &[&exchange, "--output", text(&file)?]).await?;
        ensure!(taken.success, "{}", taken.said);
        whole = serde_json::from_str(&fs::read_to_string(&file)?)?;
        Ok(whole["batches"].as_array().is_some_and(|batches| batches.len() == 2))
    })
    .await?;
    let judged = officers.judged(&file, None).await?;
    ensure!(!judged.said.contains("✗"), "{}", judged.said);
    let python = officers.judged_in_python(&file, None).await?;
    ensure!(python.success, "{}", python.said);
    let found = continuations(&whole);
    ensure!(found.len() >= 2, "{} continuations", found.len());
    for left_out in found {
        let mut lacking = whole.clone();
        lacking["records"].as_array_mut().unwrap().remove(left_out);
        fs::write(&file, lacking.to_string())?;
        let judged = officers.judged(&file, None).await?;
        ensure!(!judged.success, "record {left_out} was left out and nobody saw it: {}", judged.said);
        let python = officers.judged_in_python(&file, None).await?;
        ensure!(!python.success, "record {left_out}, and the second judge: {}", python.said);
    }
    officers.mesh.stop().await
}

/// Every place of an evidence file whose alteration must be seen, as JSON pointers.
fn places_of(file: &Value) -> Vec<String> {
    let mut places = vec!["/exchange_id".to_owned(), "/checkpoint".to_owned()];
    let mut found = |at: &str, value: &Value| {
        places.push(format!("{at}/index"));
        places.push(format!("{at}/entry"));
        places.extend((0..value["path"].as_array().unwrap().len()).map(|step| format!("{at}/path/{step}")));
    };
    for (number, value) in file["records"].as_array().unwrap().iter().enumerate() {
        found(&format!("/records/{number}"), value);
    }
    let mut more = Vec::new();
    for (number, value) in file["batches"].as_array().unwrap().iter().enumerate() {
        found(&format!("/batches/{number}/seal"), &value["seal"]);
        more.extend(
            (0..value["leaf_hashes"].as_array().unwrap().len())
                .map(|hash| format!("/batches/{number}/leaf_hashes/{hash}")),
        );
    }
    for (number, value) in file["bundles"].as_array().unwrap().iter().enumerate() {
        found(&format!("/bundles/{number}/published"), &value["published"]);
        if !value["bundle"].as_str().unwrap().is_empty() {
            more.push(format!("/bundles/{number}/bundle"));
        }
    }
    let signers = file["batches"].as_array().unwrap().len();
    more.extend((0..signers).map(|number| format!("/certificates/{number}/certificate")));
    places.extend(more);
    places
}

/// One bit of a byte string, one letter of the log's name, or one more in a number.
fn alter(value: &mut Value, number: usize) -> Result<()> {
    *value = match &*value {
        Value::Number(index) => Value::from(index.as_u64().unwrap() + 1),
        Value::String(text) if text.contains('\n') => Value::from(text.replacen("log", "lag", 1)),
        Value::String(text) => {
            let mut bytes = STANDARD.decode(text).unwrap();
            let at = (number * 7919) % bytes.len();
            bytes[at] ^= 1 << (number % 8);
            Value::from(STANDARD.encode(bytes))
        }
        other => bail!("nothing knows how to alter {other}"),
    };
    Ok(())
}
