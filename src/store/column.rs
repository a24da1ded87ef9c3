//! Our values as SQLite columns and back, and SQLite's errors as ours.
//!
//! **Invariant:** a column that does not hold what the schema says is an error that names its place, never a guess.

use rusqlite::ErrorCode;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Value, ValueRef};

use super::StoreError;
use super::outbox::DeliveryStage;
use super::record::DeliveryState;
use crate::event::{EventKind, Verdict, Via};
use crate::settings::notices::WebhookId;
use crate::settings::{Mode, OrgName};
use crate::token::{MessageId, SiteId};

/// The name in [`StoreError`].
pub(super) const STORE: &str = "history";

/// A value of ours in a column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column<T>(pub(super) T);

impl ToSql for Column<MessageId> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Integer(self.0.0.cast_signed())))
    }
}

impl FromSql for Column<MessageId> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Column<MessageId>> {
        Ok(Column(MessageId(value.as_i64()?.cast_unsigned())))
    }
}

impl ToSql for Column<WebhookId> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Integer(self.0.0.cast_signed())))
    }
}

impl FromSql for Column<WebhookId> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Column<WebhookId>> {
        Ok(Column(WebhookId(value.as_i64()?.cast_unsigned())))
    }
}

impl FromSql for Column<SiteId> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Column<SiteId>> {
        let octets = value.as_blob()?;
        let site = octets
            .try_into()
            .map_err(|_| FromSqlError::InvalidBlobSize { expected_size: 4, blob_size: octets.len() })?;
        Ok(Column(SiteId(site)))
    }
}

/// A value written as one of a few words.
macro_rules! word_column {
    ($type:ty, $read:expr) => {
        impl FromSql for Column<$type> {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Column<$type>> {
                let text = value.as_str()?;
                let read: fn(&str) -> Option<$type> = $read;
                read(text).map(Column).ok_or_else(|| FromSqlError::other(NotAWord(text.to_owned())))
            }
        }
    };
}

word_column!(Mode, |text| text.parse().ok());
word_column!(OrgName, |text| text.parse().ok());
word_column!(DeliveryState, DeliveryState::parse);
word_column!(EventKind, EventKind::parse);
word_column!(Verdict, Verdict::parse);
word_column!(Via, Via::parse);
word_column!(DeliveryStage, DeliveryStage::parse);

/// The column holds a word that this program does not write there.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no word of this column")]
struct NotAWord(String);

/// What a failed statement means to the caller. `at` names table or question.
pub(super) fn store_error(at: &'static str, error: &rusqlite::Error) -> StoreError {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, SqliteFailure, Utf8Error,
    };
    let detail = error.to_string();
    let corrupt = |detail| StoreError::Corrupt { store: STORE, at: at.to_owned(), detail };
    match error {
        SqliteFailure(failure, _) => match failure.code {
            ErrorCode::ConstraintViolation => StoreError::Refused { store: STORE, detail: format!("{at}: {detail}") },
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => corrupt(detail),
            _ => StoreError::Disk { store: STORE, detail },
        },
        FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..) => {
            corrupt(detail)
        }
        _ => StoreError::Disk { store: STORE, detail },
    }
}
