//! gRPC code, Connect code, HTTP status: one table (Connect protocol, "Error Codes").

use http::StatusCode;
use tonic::Code;

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// gRPC's code.
    pub grpc: Code,
    /// Connect's name of it.
    pub connect: &'static str,
    /// Status of the HTTP answer.
    pub http: u16,
}

/// Every code.
pub const TABLE: [Row; 17] = [
    row(Code::Ok, "ok", 200),
    row(Code::Cancelled, "canceled", 499),
    row(Code::Unknown, "unknown", 500),
    row(Code::InvalidArgument, "invalid_argument", 400),
    row(Code::DeadlineExceeded, "deadline_exceeded", 504),
    row(Code::NotFound, "not_found", 404),
    row(Code::AlreadyExists, "already_exists", 409),
    row(Code::PermissionDenied, "permission_denied", 403),
    row(Code::ResourceExhausted, "resource_exhausted", 429),
    row(Code::FailedPrecondition, "failed_precondition", 400),
    row(Code::Aborted, "aborted", 409),
    row(Code::OutOfRange, "out_of_range", 400),
    row(Code::Unimplemented, "unimplemented", 501),
    row(Code::Internal, "internal", 500),
    row(Code::Unavailable, "unavailable", 503),
    row(Code::DataLoss, "data_loss", 500),
    row(Code::Unauthenticated, "unauthenticated", 401),
];

/// The row of a code.
pub fn of(code: Code) -> &'static Row {
    // INVARIANT: the rows stand in the order of the codes' numbers (tested).
    TABLE.get(code as usize).unwrap_or(&TABLE[2])
}

impl Row {
    /// The status of the HTTP answer.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

const fn row(grpc: Code, connect: &'static str, http: u16) -> Row {
    Row { grpc, connect, http }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn every_code_has_its_row_and_the_table_is_the_one_that_clients_know() {
        let mut table = String::from("gRPC                Connect              HTTP\n");
        for number in 0..17 {
            let code = Code::from_i32(number);
            let row = of(code);
            assert_eq!(row.grpc, code);
            writeln!(table, "{:<19} {:<20} {}", format!("{code:?}"), row.connect, row.status().as_u16())
                .unwrap();
        }
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/codes.txt");
        if std::env::var_os("LIENTHONG_GOLDEN").is_some() {
            std::fs::write(golden, &table).unwrap();
        }
        assert_eq!(std::fs::read_to_string(golden).unwrap(), table);
    }
}
