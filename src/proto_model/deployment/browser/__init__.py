"""A version as a page that predicts, explains and scores files in the browser, without a server."""

from proto_model.deployment.browser.writing import WrittenPage, write_page

__all__ = ["WrittenPage", "write_page"]
