"""Files with meter data, read as streams: CSV by a mapping of columns, Green Button (ESPI) XML.

Every reader yields entries one by one: a reading with its flow, or a refusal with the line and the reason. A file that
cannot be read at all raises `Unreadable`. Nothing is dropped in silence and nothing is held longer than it must be, so
the size of a file does not matter.
"""
