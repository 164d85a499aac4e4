from proto_model.table.caution import Caution, caution_list, caution_section


def test_a_list_of_cautions_cannot_break_out_of_markdown():
    cautions = [Caution("few_rows", (), "<=50K has few rows.")]

    assert caution_list(cautions) == "- **few rows:** &lt;=50K has few rows."
    assert "None found" in caution_section([])
