"""Everything that speaks DICOM: storage SCP, spool, journal, series assembly, reading, SEG and SR writing, delivery."""
