"""The report of a case: its content once, as JSON, HTML and PDF; its words without a network, or worded by one."""
