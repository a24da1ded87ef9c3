//! Country and city of a network, from a database in MaxMind's format that the administrator provides.
//!
//! **Invariant:** no answer is made up: without a database, or where it does not know, the place is unknown. The
//! address is looked up and forgotten.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use maxminddb::{MaxMindDbError, Reader, path as fields};

/// Octets of a city's name: longer ones are no names.
const CITY_BYTES_MAX: usize = 100;

/// Where a network is, as far as known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// ISO 3166 alpha-2.
    pub country: Option<String>,
    /// In English. Only a city database knows it, and is often wrong by the next town.
    pub city: Option<String>,
}

/// The database, or none.
pub struct Geo {
    reader: Option<Reader<Vec<u8>>>,
}

impl std::fmt::Debug for Geo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Geo").field("database", &self.reader.is_some()).finish()
    }
}

/// The file is there but is no such database.
#[derive(Debug, thiserror::Error)]
#[error("{path} is not a readable MaxMind database: {source}", path = path.display())]
pub struct GeoError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong.
    pub source: MaxMindDbError,
}

impl Geo {
    /// Knows no country.
    pub fn none() -> Geo {
        Geo { reader: None }
    }

    /// Reads the database whole into memory. Without a path, or when nothing is there, no country is known; the latter
    /// is said, once. Blocks.
    ///
    /// # Errors
    /// [`GeoError`]: something is there, but no database.
    pub fn open(path: Option<&Path>) -> Result<Geo, GeoError> {
        let Some(path) = path else { return Ok(Geo::none()) };
        match Reader::open_readfile(path) {
            Ok(reader) => Ok(Geo { reader: Some(reader) }),
            Err(MaxMindDbError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), "there is no geo database: countries stay unknown");
                Ok(Geo::none())
            }
            Err(source) => Err(GeoError { path: path.to_owned(), source }),
        }
    }

    /// Where the address is, as far as the database knows.
    pub fn place(&self, address: IpAddr) -> Place {
        let Some(reader) = &self.reader else { return Place::default() };
        let Ok(found) = reader.lookup(address.to_canonical()) else { return Place::default() };
        let country: Option<String> = found.decode_path(&fields!["country", "iso_code"]).ok().flatten();
        let city: Option<String> = found.decode_path(&fields!["city", "names", "en"]).ok().flatten();
        Place {
            country: country.filter(|code| code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase())),
            city: city.filter(|name| !name.is_empty() && name.len() <= CITY_BYTES_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three documentation networks; made with PyPI's `mmdb-writer`: 192.0.2.0/24 IT, 2001:db8::/48 FR,
    /// 198.51.100.0/24 a continent only, 203.0.113.0/24 a code that is none.
    fn test_database() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/geo/countries-test.mmdb")
    }

    #[test]
    fn the_country_is_what_the_database_says() {
        let geo = Geo::open(Some(&test_database())).unwrap();
        for (address, country) in [
            ("192.0.2.77", Some("IT")),
            ("::ffff:192.0.2.77", Some("IT")),
            ("2001:db8::1", Some("FR")),
            ("2001:db8:1::1", None),
            ("198.51.100.1", None),
            ("203.0.113.1", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(geo.place(address.parse().unwrap()).country.as_deref(), country, "{address}");
        }
    }

    /// Made likewise: a city with an English name; a country alone; a city without an English name, one with an empty and
    /// one with a name that is none.
    #[test]
    fn the_city_is_what_a_city_database_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/geo/cities-test.mmdb");
        let geo = Geo::open(Some(&path)).unwrap();
        for (address, country, city) in [
            ("192.0.2.77", "IT", Some("Turin")),
            ("198.51.100.1", "FR", None),
            ("203.0.113.1", "DE", None),
            ("203.0.113.200", "DE", None),
            ("2001:db8::1", "ES", None),
        ] {
            let place = Place { country: Some(country.to_owned()), city: city.map(str::to_owned) };
            assert_eq!(geo.place(address.parse().unwrap()), place, "{address}");
        }
        let countries = Geo::open(Some(&test_database())).unwrap();
        assert_eq!(countries.place("192.0.2.77".parse().unwrap()).city, None);
    }

    #[test]
    fn without_a_database_nothing_is_known() {
        let folder = tempfile::tempdir().unwrap();
        for path in [None, Some(folder.path().join("missing.mmdb"))] {
            let geo = Geo::open(path.as_deref()).unwrap();
            assert_eq!(geo.place("192.0.2.77".parse().unwrap()), Place::default());
        }
    }

    #[test]
    fn what_is_no_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.mmdb");
        std::fs::write(&path, "not a database").unwrap();
        let error = Geo::open(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("text.mmdb"), "{error}");
        assert!(Geo::open(Some(folder.path())).is_err());
    }
}
