//! Two-letter country codes to the three-letter ones that OpenRTB speaks.
//!
//! Owns: the table of ISO 3166-1. Never: a code outside the standard (`XK`, `EU`, `UK`).
//! Invariant: sorted by the two-letter code; 249 entries.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::openrtb::ids::Country;

/// Bytes of an entry: two letters, three letters, a blank.
const STRIDE: usize = 6;

/// ISO 3166-1 as of 2026: alpha-2 and alpha-3 of each country, glued together.
const CODES: &str = "\
    ADAND AEARE AFAFG AGATG AIAIA ALALB AMARM AOAGO AQATA ARARG ASASM ATAUT AUAUS AWABW AXALA \
    AZAZE BABIH BBBRB BDBGD BEBEL BFBFA BGBGR BHBHR BIBDI BJBEN BLBLM BMBMU BNBRN BOBOL BQBES \
    BRBRA BSBHS BTBTN BVBVT BWBWA BYBLR BZBLZ CACAN CCCCK CDCOD CFCAF CGCOG CHCHE CICIV CKCOK \
    CLCHL CMCMR CNCHN COCOL CRCRI CUCUB CVCPV CWCUW CXCXR CYCYP CZCZE DEDEU DJDJI DKDNK DMDMA \
    DODOM DZDZA ECECU EEEST EGEGY EHESH ERERI ESESP ETETH FIFIN FJFJI FKFLK FMFSM FOFRO FRFRA \
    GAGAB GBGBR GDGRD GEGEO GFGUF GGGGY GHGHA GIGIB GLGRL GMGMB GNGIN GPGLP GQGNQ GRGRC GSSGS \
    GTGTM GUGUM GWGNB GYGUY HKHKG HMHMD HNHND HRHRV HTHTI HUHUN IDIDN IEIRL ILISR IMIMN ININD \
    IOIOT IQIRQ IRIRN ISISL ITITA JEJEY JMJAM JOJOR JPJPN KEKEN KGKGZ KHKHM KIKIR KMCOM KNKNA \
    KPPRK KRKOR KWKWT KYCYM KZKAZ LALAO LBLBN LCLCA LILIE LKLKA LRLBR LSLSO LTLTU LULUX LVLVA \
    LYLBY MAMAR MCMCO MDMDA MEMNE MFMAF MGMDG MHMHL MKMKD MLMLI MMMMR MNMNG MOMAC MPMNP MQMTQ \
    MRMRT MSMSR MTMLT MUMUS MVMDV MWMWI MXMEX MYMYS MZMOZ NANAM NCNCL NENER NFNFK NGNGA NINIC \
    NLNLD NONOR NPNPL NRNRU NUNIU NZNZL OMOMN PAPAN PEPER PFPYF PGPNG PHPHL PKPAK PLPOL PMSPM \
    PNPCN PRPRI PSPSE PTPRT PWPLW PYPRY QAQAT REREU ROROU RSSRB RURUS RWRWA SASAU SBSLB SCSYC \
    SDSDN SESWE SGSGP SHSHN SISVN SJSJM SKSVK SLSLE SMSMR SNSEN SOSOM SRSUR SSSSD STSTP SVSLV \
    SXSXM SYSYR SZSWZ TCTCA TDTCD TFATF TGTGO THTHA TJTJK TKTKL TLTLS TMTKM TNTUN TOTON TRTUR \
    TTTTO TVTUV TWTWN TZTZA UAUKR UGUGA UMUMI USUSA UYURY UZUZB VAVAT VCVCT VEVEN VGVGB VIVIR \
    VNVNM VUVUT WFWLF WSWSM YEYEM YTMYT ZAZAF ZMZMB ZWZWE ";

/// The alpha-3 code of an alpha-2 code in upper case.
pub fn alpha3(alpha2: &str) -> Option<Country> {
    let (entries, _) = CODES.as_bytes().as_chunks::<STRIDE>();
    let at =
        entries.binary_search_by(|[a, b, ..]| [*a, *b].as_slice().cmp(alpha2.as_bytes())).ok()?;
    entries.get(at).map(|[_, _, a, b, c, _]| Country([*a, *b, *c]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_is_whole_sorted_and_unique() {
        let entries: Vec<&str> = CODES.split_whitespace().collect();
        assert_eq!(entries.len(), 249);
        assert_eq!(CODES.len(), 249 * STRIDE);
        assert!(entries.iter().all(|entry| entry.len() == 5));
        assert!(entries.iter().all(|entry| entry.bytes().all(|byte| byte.is_ascii_uppercase())));
        let (two, three): (Vec<&str>, Vec<&str>) = entries.iter().map(|e| e.split_at(2)).unzip();
        assert!(two.is_sorted());
        assert_eq!(two.into_iter().collect::<BTreeSet<_>>().len(), 249);
        assert_eq!(three.into_iter().collect::<BTreeSet<_>>().len(), 249);
    }

    #[test]
    fn codes_translate_and_strangers_do_not() {
        for (two, three) in
            [("AD", "AND"), ("DE", "DEU"), ("GB", "GBR"), ("US", "USA"), ("ZW", "ZWE")]
        {
            assert_eq!(alpha3(two).unwrap().as_str(), three);
        }
        for stranger in ["", "U", "us", "UK", "XK", "EU", "USA", "\u{e9}"] {
            assert_eq!(alpha3(stranger), None, "{stranger}");
        }
    }
}
