//! Real places for invented networks.
//!
//! Owns: the table that the demo's databases and the synthetic City database draw from. Names,
//! codes and coordinates are public geography; which network lies where is invented.

/// One city.
#[derive(Debug)]
pub struct Place {
    /// ISO 3166-1 alpha-2.
    pub country: &'static str,
    pub country_name: &'static str,
    /// ISO 3166-2 without the country; empty where there is none to name.
    pub region: &'static str,
    pub region_name: &'static str,
    pub city: &'static str,
    pub zip: &'static str,
    pub lat: f64,
    pub lon: f64,
    pub time_zone: &'static str,
    /// Nielsen DMA; 0 outside the United States.
    pub metro: u16,
    /// Share of the traffic, in parts of the sum of all.
    pub weight: f64,
}

/// A row: country, its name, region, its name, city, zip, latitude, longitude, zone, metro, weight.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    f64,
    f64,
    &'static str,
    u16,
    f64,
);

impl Place {
    /// The row at an index of the table; the first where it has none.
    pub fn at(index: usize) -> Self {
        let (
            country,
            country_name,
            region,
            region_name,
            city,
            zip,
            lat,
            lon,
            time_zone,
            metro,
            weight,
        ) = ROWS[index.min(ROWS.len() - 1)];
        Self {
            country,
            country_name,
            region,
            region_name,
            city,
            zip,
            lat,
            lon,
            time_zone,
            metro,
            weight,
        }
    }

    /// All.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..ROWS.len()).map(Self::at)
    }
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("US", "United States", "NY", "New York", "New York", "10001", 40.7128, -74.006, "America/New_York", 501, 9.0),
    ("US", "United States", "CA", "California", "Los Angeles", "90012", 34.0522, -118.2437, "America/Los_Angeles", 803, 7.0),
    ("US", "United States", "IL", "Illinois", "Chicago", "60602", 41.8781, -87.6298, "America/Chicago", 602, 5.0),
    ("US", "United States", "TX", "Texas", "Houston", "77002", 29.7604, -95.3698, "America/Chicago", 618, 4.0),
    ("US", "United States", "TX", "Texas", "Dallas", "75201", 32.7767, -96.797, "America/Chicago", 623, 4.0),
    ("US", "United States", "AZ", "Arizona", "Phoenix", "85003", 33.4484, -112.074, "America/Phoenix", 753, 2.0),
    ("US", "United States", "PA", "Pennsylvania", "Philadelphia", "19107", 39.9526, -75.1652, "America/New_York", 504, 3.0),
    ("US", "United States", "FL", "Florida", "Miami", "33130", 25.7617, -80.1918, "America/New_York", 528, 3.0),
    ("US", "United States", "GA", "Georgia", "Atlanta", "30303", 33.749, -84.388, "America/New_York", 524, 3.0),
    ("US", "United States", "WA", "Washington", "Seattle", "98104", 47.6062, -122.3321, "America/Los_Angeles", 819, 3.0),
    ("US", "United States", "CO", "Colorado", "Denver", "80202", 39.7392, -104.9903, "America/Denver", 751, 2.0),
    ("US", "United States", "MA", "Massachusetts", "Boston", "02108", 42.3601, -71.0589, "America/New_York", 506, 3.0),
    ("US", "United States", "MN", "Minnesota", "Minneapolis", "55401", 44.9778, -93.265, "America/Chicago", 613, 1.5),
    ("US", "United States", "HI", "Hawaii", "Honolulu", "96813", 21.3069, -157.8583, "Pacific/Honolulu", 744, 0.5),
    ("CA", "Canada", "ON", "Ontario", "Toronto", "M5H", 43.6532, -79.3832, "America/Toronto", 0, 3.0),
    ("CA", "Canada", "QC", "Quebec", "Montreal", "H2Y", 45.5017, -73.5673, "America/Toronto", 0, 2.0),
    ("CA", "Canada", "BC", "British Columbia", "Vancouver", "V6B", 49.2827, -123.1207, "America/Vancouver", 0, 1.5),
    ("MX", "Mexico", "CMX", "Mexico City", "Mexico City", "06000", 19.4326, -99.1332, "America/Mexico_City", 0, 2.0),
    ("MX", "Mexico", "JAL", "Jalisco", "Guadalajara", "44100", 20.6597, -103.3496, "America/Mexico_City", 0, 1.0),
    ("BR", "Brazil", "SP", "Sao Paulo", "São Paulo", "01000", -23.5505, -46.6333, "America/Sao_Paulo", 0, 3.0),
    ("BR", "Brazil", "RJ", "Rio de Janeiro", "Rio de Janeiro", "20000", -22.9068, -43.1729, "America/Sao_Paulo", 0, 2.0),
    ("AR", "Argentina", "C", "Buenos Aires F.D.", "Buenos Aires", "1000", -34.6037, -58.3816, "America/Argentina/Buenos_Aires", 0, 1.5),
    ("CL", "Chile", "RM", "Santiago Metropolitan", "Santiago", "8320000", -33.4489, -70.6693, "America/Santiago", 0, 0.8),
    ("CO", "Colombia", "DC", "Bogota D.C.", "Bogotá", "110111", 4.711, -74.0721, "America/Bogota", 0, 1.0),
    ("GB", "United Kingdom", "ENG", "England", "London", "EC1A", 51.5074, -0.1278, "Europe/London", 0, 5.0),
    ("GB", "United Kingdom", "ENG", "England", "Manchester", "M2", 53.4808, -2.2426, "Europe/London", 0, 2.0),
    ("GB", "United Kingdom", "SCT", "Scotland", "Edinburgh", "EH1", 55.9533, -3.1883, "Europe/London", 0, 1.0),
    ("IE", "Ireland", "L", "Leinster", "Dublin", "D02", 53.3498, -6.2603, "Europe/Dublin", 0, 0.8),
    ("FR", "France", "IDF", "Île-de-France", "Paris", "75001", 48.8566, 2.3522, "Europe/Paris", 0, 3.0),
    ("FR", "France", "ARA", "Auvergne-Rhône-Alpes", "Lyon", "69001", 45.764, 4.8357, "Europe/Paris", 0, 1.0),
    ("DE", "Germany", "BE", "Berlin", "Berlin", "10117", 52.52, 13.405, "Europe/Berlin", 0, 3.0),
    ("DE", "Germany", "BY", "Bavaria", "Munich", "80331", 48.1351, 11.582, "Europe/Berlin", 0, 2.0),
    ("DE", "Germany", "HH", "Hamburg", "Hamburg", "20095", 53.5511, 9.9937, "Europe/Berlin", 0, 1.5),
    ("ES", "Spain", "MD", "Madrid", "Madrid", "28001", 40.4168, -3.7038, "Europe/Madrid", 0, 2.0),
    ("ES", "Spain", "CT", "Catalonia", "Barcelona", "08001", 41.3874, 2.1686, "Europe/Madrid", 0, 1.5),
    ("PT", "Portugal", "11", "Lisbon", "Lisbon", "1100", 38.7223, -9.1393, "Europe/Lisbon", 0, 0.7),
    ("IT", "Italy", "62", "Lazio", "Rome", "00184", 41.9028, 12.4964, "Europe/Rome", 0, 1.5),
    ("IT", "Italy", "25", "Lombardy", "Milan", "20121", 45.4642, 9.19, "Europe/Rome", 0, 1.5),
    ("NL", "Netherlands", "NH", "North Holland", "Amsterdam", "1012", 52.3676, 4.9041, "Europe/Amsterdam", 0, 1.2),
    ("BE", "Belgium", "BRU", "Brussels Capital", "Brussels", "1000", 50.8503, 4.3517, "Europe/Brussels", 0, 0.8),
    ("CH", "Switzerland", "ZH", "Zurich", "Zurich", "8001", 47.3769, 8.5417, "Europe/Zurich", 0, 0.7),
    ("AT", "Austria", "9", "Vienna", "Vienna", "1010", 48.2082, 16.3738, "Europe/Vienna", 0, 0.7),
    ("SE", "Sweden", "AB", "Stockholm", "Stockholm", "111 20", 59.3293, 18.0686, "Europe/Stockholm", 0, 1.0),
    ("PL", "Poland", "14", "Mazovia", "Warsaw", "00-001", 52.2297, 21.0122, "Europe/Warsaw", 0, 1.2),
    ("TR", "Türkiye", "34", "Istanbul", "Istanbul", "34000", 41.0082, 28.9784, "Europe/Istanbul", 0, 1.2),
    ("ZA", "South Africa", "GP", "Gauteng", "Johannesburg", "2000", -26.2041, 28.0473, "Africa/Johannesburg", 0, 0.8),
    ("NG", "Nigeria", "LA", "Lagos", "Lagos", "100001", 6.5244, 3.3792, "Africa/Lagos", 0, 0.8),
    ("EG", "Egypt", "C", "Cairo Governorate", "Cairo", "11511", 30.0444, 31.2357, "Africa/Cairo", 0, 0.7),
    ("AE", "United Arab Emirates", "DU", "Dubai", "Dubai", "", 25.2048, 55.2708, "Asia/Dubai", 0, 0.7),
    ("IN", "India", "MH", "Maharashtra", "Mumbai", "400001", 19.076, 72.8777, "Asia/Kolkata", 0, 3.0),
    ("IN", "India", "DL", "Delhi", "New Delhi", "110001", 28.6139, 77.209, "Asia/Kolkata", 0, 2.5),
    ("IN", "India", "KA", "Karnataka", "Bengaluru", "560001", 12.9716, 77.5946, "Asia/Kolkata", 0, 2.0),
    ("JP", "Japan", "13", "Tokyo", "Tokyo", "100-0001", 35.6762, 139.6503, "Asia/Tokyo", 0, 3.0),
    ("JP", "Japan", "27", "Osaka", "Osaka", "530-0001", 34.6937, 135.5023, "Asia/Tokyo", 0, 1.5),
    ("KR", "South Korea", "11", "Seoul", "Seoul", "04524", 37.5665, 126.978, "Asia/Seoul", 0, 1.5),
    ("SG", "Singapore", "", "Singapore", "Singapore", "048616", 1.3521, 103.8198, "Asia/Singapore", 0, 0.8),
    ("ID", "Indonesia", "JK", "Jakarta", "Jakarta", "10110", -6.2088, 106.8456, "Asia/Jakarta", 0, 2.0),
    ("PH", "Philippines", "00", "Metro Manila", "Manila", "1000", 14.5995, 120.9842, "Asia/Manila", 0, 1.2),
    ("AU", "Australia", "NSW", "New South Wales", "Sydney", "2000", -33.8688, 151.2093, "Australia/Sydney", 0, 1.8),
    ("AU", "Australia", "VIC", "Victoria", "Melbourne", "3000", -37.8136, 144.9631, "Australia/Melbourne", 0, 1.4),
    ("NZ", "New Zealand", "AUK", "Auckland", "Auckland", "1010", -36.8509, 174.7645, "Pacific/Auckland", 0, 0.5),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_spans_the_world() {
        let countries: BTreeSet<_> = Place::all().map(|place| place.country).collect();
        assert!(countries.len() >= 25, "{}", countries.len());
        for place in Place::all() {
            assert!(place.lat.abs() <= 90.0 && place.lon.abs() <= 180.0, "{place:?}");
            assert!(place.weight > 0.0 && place.time_zone.contains('/'), "{place:?}");
            assert_eq!(place.metro > 0, place.country == "US", "{place:?}");
        }
    }
}
