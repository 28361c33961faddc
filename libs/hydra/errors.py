"""The errors of Hydra, named by what follows from them.

HydraError
├── ConfigError      a setting, file or argument is wrong: stop, say what to change
│   └── DataFault    a price file is faulty: file, row and reason
├── EngineError      one engine failed: bench it, the rest play on
├── AnswerLost       an answer never came: the program ended before; nothing follows
├── OrderRejected    a broker refused an order: record it
├── VenueDown        a venue cannot be reached, fell silent or has no time for us: try again
├── VenueFault       a venue answered what cannot be used: stop, say what it was
├── StorageError     the database cannot be used as it is: stop, nothing is lost
│   └── JournalFault the journal is torn or altered: name the place, never guess
"""

from __future__ import annotations


class HydraError(Exception):
    """Base of every error that Hydra raises on purpose; its text is fit for a user."""


class ConfigError(HydraError):
    """A setting, file or argument is wrong. The program stops and says what to change."""


class DataFault(ConfigError):
    """A price file cannot be used as it is. The text names file, row and reason."""


class EngineError(HydraError):
    """An engine raised, overran its deadline or returned nonsense. It is benched."""


class AnswerLost(HydraError):
    """A question of a season that is played again was never answered: the program had ended."""


class OrderRejected(HydraError):
    """A broker refused an order. The refusal is recorded; nothing was filled."""


class VenueDown(HydraError):
    """A venue cannot be reached, hung up, fell silent or asks for patience. Try again later."""


class VenueFault(HydraError):
    """A venue refused, or answered what cannot be used. Trying again will not help."""


class StorageError(HydraError):
    """The database cannot be used as it is. What was committed stays committed."""


class JournalFault(StorageError):
    """The journal is torn or altered. The text names the first bad entry."""
