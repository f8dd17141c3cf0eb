"""What plugins warn of: kept with what they do. What else they tell is printed, as Display does."""

import contextlib

from ansible._internal import _display_utils


@contextlib.contextmanager
def holding(variables, found):
    """Keeps what is warned of meanwhile in `found`."""
    from consort_bridge import errors

    with _display_utils.DeferredWarningContext(variables=variables) as context:
        try:
            yield
        except BaseException as error:
            # what was warned of before it failed counts too
            error.consort_warned = found
            raise
        finally:
            found.extend(errors.summaries(context.get_warnings()))
            found.extend(errors.summaries(context.get_deprecation_warnings()))
