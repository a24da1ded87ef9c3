//! Country and city of a network, from databases in MaxMind's file format that the administrator provides.
//!
//! Two layouts are read: MaxMind's own (`country.iso_code`, `city.names.en`; also DB-IP's files) and the flat one of the
//! ip-location-db collection (`country_code`, `city`).
//!
//! **Invariant:** no answer is made up: without a database, or where it does not know, the place is unknown. The
//! address is looked up and forgotten. A look-up never waits: a database that changed is read beside the old one, and one
//! that cannot be read leaves the old one in use.

mod file;
pub mod watch;

use std::net::IpAddr;
use std::path::PathBuf;

use maxminddb::{MaxMindDbError, Reader, path as fields};

use file::File;

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

/// The databases, or none.
#[derive(Debug, Default)]
pub struct Geo {
    files: Vec<File>,
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
    /// Knows no place.
    pub fn none() -> Geo {
        Geo::default()
    }

    /// Reads the databases whole into memory. Without any, or where nothing is there, places are unknown; that is said
    /// here, once. Blocks.
    ///
    /// # Errors
    /// [`GeoError`]: something is there, but no database.
    pub fn open(paths: &[PathBuf]) -> Result<Geo, GeoError> {
        if paths.is_empty() {
            tracing::info!("no geo.database is named: places stay unknown");
        }
        Ok(Geo { files: paths.iter().map(|path| File::open(path)).collect::<Result<_, _>>()? })
    }

    /// Reads again what has changed on the disk since it was read; how many databases are new. What cannot be read is
    /// said once and leaves the old one in use. Blocks; look-ups do not wait.
    pub fn refresh(&self) -> usize {
        self.files.iter().filter(|file| file.refresh()).count()
    }

    /// Where the address is, as far as the first database that knows it says.
    pub fn place(&self, address: IpAddr) -> Place {
        let address = address.to_canonical();
        let places = self.files.iter().filter_map(|file| file.reader()).map(|reader| look_up(&reader, address));
        places.into_iter().find(|place| *place != Place::default()).unwrap_or_default()
    }
}

fn look_up(reader: &Reader<Vec<u8>>, address: IpAddr) -> Place {
    let Ok(found) = reader.lookup(address) else { return Place::default() };
    let text = |path: &[_]| found.decode_path::<String>(path).ok().flatten();
    let country = text(&fields!["country", "iso_code"]).or_else(|| text(&fields!["country_code"]));
    let city = text(&fields!["city", "names", "en"]).or_else(|| text(&fields!["city"]));
    Place {
        country: country.filter(|code| code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase())),
        city: city.map(without_quarter).filter(|name| !name.is_empty() && name.len() <= CITY_BYTES_MAX),
    }
}

/// Some databases name the quarter: `Amsterdam (Amsterdam-Centrum)`. That is more than anybody should know.
fn without_quarter(name: String) -> String {
    match name.split_once(" (") {
        Some((city, _)) => city.to_owned(),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Three documentation networks; made with PyPI's `mmdb-writer`: 192.0.2.0/24 IT, 2001:db8::/48 FR,
    /// 198.51.100.0/24 a continent only, 203.0.113.0/24 a code that is none.
    fn test_database() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/geo/countries-test.mmdb")
    }

    #[test]
    fn the_country_is_what_the_database_says() {
        let geo = Geo::open(&[test_database()]).unwrap();
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
        let geo = Geo::open(&[path]).unwrap();
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
        let countries = Geo::open(&[test_database()]).unwrap();
        assert_eq!(countries.place("192.0.2.77".parse().unwrap()).city, None);
    }

    #[test]
    fn without_a_database_nothing_is_known() {
        let folder = tempfile::tempdir().unwrap();
        for paths in [vec![], vec![folder.path().join("missing.mmdb")]] {
            let geo = Geo::open(&paths).unwrap();
            assert_eq!(geo.place("192.0.2.77".parse().unwrap()), Place::default());
        }
    }

    /// One database for IPv4 and one for IPv6, as some are published: the first that knows the network answers.
    #[test]
    fn databases_are_asked_in_turn() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/geo");
        let geo = Geo::open(&[folder.join("missing.mmdb"), folder.join("cities-test.mmdb"), test_database()]).unwrap();
        for (address, country, city) in
            [("192.0.2.77", Some("IT"), Some("Turin")), ("2001:db8::1", Some("ES"), None), ("127.0.0.1", None, None)]
        {
            let place = Place { country: country.map(str::to_owned), city: city.map(str::to_owned) };
            assert_eq!(geo.place(address.parse().unwrap()), place, "{address}");
        }
    }

    #[test]
    fn a_quarter_is_not_kept() {
        for (name, city) in [("Amsterdam (Amsterdam-Centrum)", "Amsterdam"), ("Turin", "Turin"), (" (x)", "")] {
            assert_eq!(without_quarter(name.to_owned()), city);
        }
    }

    #[test]
    fn what_is_no_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.mmdb");
        std::fs::write(&path, "not a database").unwrap();
        let error = Geo::open(&[path]).unwrap_err().to_string();
        assert!(error.contains("text.mmdb"), "{error}");
        assert!(Geo::open(&[folder.path().to_owned()]).is_err());
    }
}
