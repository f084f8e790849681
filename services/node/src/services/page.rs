//! Pages of a list (AIP-158).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use lienthong_proto::{reason::Reason, status::MeshError};
use tonic::Status;

/// Entries of one page, unless the caller asks for fewer or more.
pub const PAGE_SIZE_DEFAULT: usize = 50;
/// Entries of one page at most.
pub const PAGE_SIZE_MAX: usize = 1_000;

/// One page of a list, and the token of the next one: the place to go on from, opaque to callers.
pub fn page<T>(items: Vec<T>, size: i32, token: &str) -> Result<(Vec<T>, String), Status> {
    let size = match usize::try_from(size) {
        Err(_) => return Err(invalid("page_size is negative")),
        Ok(0) => PAGE_SIZE_DEFAULT,
        Ok(size) => size.min(PAGE_SIZE_MAX),
    };
    let start = if token.is_empty() {
        0
    } else {
        let bytes =
            URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid("page_token is not one of this node's"))?;
        let bytes: [u8; 4] = bytes.try_into().map_err(|_| invalid("page_token is not one of this node's"))?;
        u32::from_be_bytes(bytes) as usize
    };
    let end = start.saturating_add(size);
    let next = match u32::try_from(end) {
        Ok(next) if end < items.len() => URL_SAFE_NO_PAD.encode(next.to_be_bytes()),
        _ => String::new(),
    };
    Ok((items.into_iter().skip(start).take(size).collect(), next))
}

fn invalid(detail: &str) -> Status {
    MeshError::new(Reason::DenyContext, detail).to_status()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_give_everything_once() {
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let (items, next) = page((0..125).collect(), 0, &token).unwrap();
            seen.extend(items);
            token = next;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, (0..125).collect::<Vec<_>>());
    }

    #[test]
    fn a_bad_page_is_refused() {
        assert!(page(vec![1], -1, "").is_err());
        assert!(page(vec![1], 0, "x").is_err());
        assert!(page(vec![1], 0, "not base64 at all!").is_err());
    }
}
